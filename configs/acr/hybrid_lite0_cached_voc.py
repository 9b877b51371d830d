# ACR on cached features of EfficientNet-Lite0: minutes without a GPU. The warm start is
# on for the first 60% of the training; consistency comes in from half-way.
_base_ = [
    '../_base_/models/acr_hybrid_lite0_cached.py',
    '../_base_/datasets/voc_train_cached.py',
    '../_base_/schedules/cached_5e.py',
    '../_base_/default_runtime.py',
]
optim_wrapper = dict(optimizer=dict(lr=1e-3))
