# IRN on EfficientNet-Lite0 and 1,464 photographs, minutes on a GPU.
_base_ = [
    '../_base_/models/irn_lite0.py',
    '../_base_/datasets/voc_train_affinity_288.py',
    '../_base_/schedules/lite0_8e.py',
    '../_base_/default_runtime.py',
]
val_cfg = None
test_cfg = None
