# A small DeepLabV2 from scratch on pseudo labels of your own images, for a CPU.
_base_ = [
    '../_base_/models/deeplabv2_small.py',
    '../_base_/datasets/custom_pseudo.py',
    '../_base_/schedules/deeplab_20k.py',
    '../_base_/segmentation_runtime.py',
]
work_dir = 'work_dirs/custom/deeplabv2_small'
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01),
)
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=len(_base_.classes) + 1),
)
param_scheduler = [dict(type='PolyLR', power=0.9, end=2000, by_epoch=False)]
train_cfg = dict(max_iters=2000)
val_cfg = None
