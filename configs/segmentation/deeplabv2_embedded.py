# A small DeepLabV2 on pseudo labels of the embedded data set, minutes on a CPU.
_base_ = [
    '../_base_/models/deeplabv2_small.py',
    '../_base_/datasets/synthetic_pseudo.py',
    '../_base_/schedules/deeplab_20k.py',
    '../_base_/segmentation_runtime.py',
]
max_iters = 300
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=3e-3, weight_decay=0.01),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=30, by_epoch=False),
    dict(type='PolyLR', power=0.9, begin=30, end=max_iters, by_epoch=False),
]
train_cfg = dict(max_iters=max_iters)
val_cfg = None
default_hooks = dict(checkpoint=dict(interval=100))
