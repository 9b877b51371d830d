# DeepLabV2's head on cached features of EfficientNet-Lite0, on pseudo labels of VOC
# 2012: minutes without a GPU.
_base_ = [
    '../_base_/models/deeplabv2_lite0_cached.py',
    '../_base_/datasets/voc_pseudo_cached.py',
    '../_base_/schedules/deeplab_20k.py',
    '../_base_/segmentation_runtime.py',
]
max_iters = 500
optim_wrapper = dict(
    _delete_=True,
    type='mmwsss.Bf16OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
)
param_scheduler = [dict(type='PolyLR', power=0.9, end=max_iters, by_epoch=False)]
train_cfg = dict(max_iters=max_iters)
val_cfg = None
val_dataloader = None
val_evaluator = None
