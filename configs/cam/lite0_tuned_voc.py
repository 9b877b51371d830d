# CAM on EfficientNet-Lite0 whose last stage is trained with the linear head; maps are
# added over four scales.
_base_ = [
    '../_base_/models/cam_lite0_frozen.py',
    '../_base_/datasets/voc_train_288.py',
    '../_base_/schedules/cached_5e.py',
    '../_base_/default_runtime.py',
]
stages = [f'blocks.{stage}' for stage in range(6)]
model = dict(
    backbone=dict(frozen=('conv_stem', 'bn1', *stages), norm_eval=True),
    localization=dict(scales=(1.0, 0.5, 1.5, 2.0)),
)
optim_wrapper = dict(
    optimizer=dict(lr=2e-3),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.2)}),
)
seed_dataloader = dict(batch_size=16)
