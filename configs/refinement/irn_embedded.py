# IRN on the embedded data set, a minute on a CPU.
_base_ = [
    '../_base_/models/irn_embedded.py',
    '../_base_/datasets/synthetic_affinity.py',
    '../_base_/schedules/lite0_8e.py',
    '../_base_/default_runtime.py',
]
optim_wrapper = dict(optimizer=dict(lr=2e-3))
val_cfg = None
test_cfg = None
