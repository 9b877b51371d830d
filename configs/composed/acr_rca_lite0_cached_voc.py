# ACR's attention spreads the maps of RCA: consistency, memory bank and aggregation in
# one classifier.
_base_ = [
    '../_base_/models/composed_rca_lite0_cached.py',
    '../_base_/datasets/voc_train_cached.py',
    '../_base_/schedules/cached_5e.py',
    '../_base_/memory_runtime.py',
]
optim_wrapper = dict(optimizer=dict(lr=1e-3))
