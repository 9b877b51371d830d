# ACR on a frozen EfficientNet-Lite0 at 224 pixels, for views that cached features
# cannot have. The warm start is on for the first 60% of the training; consistency comes
# in from half-way.
_base_ = [
    '../_base_/models/acr_hybrid_lite0_frozen.py',
    '../_base_/datasets/voc_train_224.py',
    '../_base_/schedules/cached_5e.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(img_size=224))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
