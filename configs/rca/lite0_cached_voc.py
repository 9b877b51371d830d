# RCA on cached features of EfficientNet-Lite0: minutes without a GPU.
_base_ = [
    '../_base_/models/rca_lite0_cached.py',
    '../_base_/datasets/voc_train_cached.py',
    '../_base_/schedules/cached_5e.py',
    '../_base_/memory_runtime.py',
]
optim_wrapper = dict(optimizer=dict(lr=1e-3))
