# ACR's attention spreads the maps of a linear CAM, on cached features of
# EfficientNet-Lite0: minutes without a GPU. No consistency: it costs these maps
# (docs/studies).
_base_ = [
    '../_base_/models/composed_lite0_cached.py',
    '../_base_/datasets/voc_train_cached.py',
    '../_base_/schedules/cached_5e.py',
    '../_base_/default_runtime.py',
]
optim_wrapper = dict(optimizer=dict(lr=1e-3))
model = dict(acr=dict(consistency=dict(alpha=0.0, beta=0.0)))
