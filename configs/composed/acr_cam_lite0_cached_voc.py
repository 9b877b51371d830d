# ACR's attention spreads the maps of a linear CAM, on cached features of
# EfficientNet-Lite0: minutes without a GPU.
_base_ = [
    '../_base_/models/composed_lite0_cached.py',
    '../_base_/datasets/voc_train_cached.py',
    '../_base_/schedules/cached_5e.py',
    '../_base_/default_runtime.py',
]
iterations = 92 * _base_.max_epochs  # 1,464 images, 16 at a time
model = dict(
    acr=dict(
        consistency=dict(ramp=(iterations * 5 // 10, iterations * 6 // 10)),
        warm_start=dict(last_iteration=iterations * 6 // 10),
    )
)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
