# RCA on EfficientNet-Lite0 whose last stage is trained with the linear heads, so that
# the contrast has features to shape: minutes without a GPU.
_base_ = [
    '../_base_/models/rca_lite0_tuned.py',
    '../_base_/datasets/voc_train_288.py',
    '../_base_/schedules/cached_5e.py',
    '../_base_/rca_runtime.py',
]
model = dict(contrast=dict(loss_weight=0.1))
optim_wrapper = dict(
    optimizer=dict(lr=2e-3),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.2)}),
)
seed_dataloader = dict(batch_size=16)
