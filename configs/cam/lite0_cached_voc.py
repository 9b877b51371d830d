# A linear CAM on cached features of EfficientNet-Lite0: a minute without a GPU.
_base_ = [
    '../_base_/models/cam_lite0_cached.py',
    '../_base_/datasets/voc_train_cached.py',
    '../_base_/schedules/cached_5e.py',
    '../_base_/default_runtime.py',
]
optim_wrapper = dict(optimizer=dict(lr=2e-3))
