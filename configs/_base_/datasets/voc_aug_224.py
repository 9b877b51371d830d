# voc_aug_384 at DeiT's 224x224, padded with ImageNet's mean colour (BGR).
_base_ = './voc_aug_384.py'

crop_size = (224, 224)
pad_colour = (104, 116, 124)

train_pipeline = [
    dict(type='CountedRandomness'),
    dict(type='LoadImage'),
    dict(
        type='RandomResize',
        scale=crop_size,
        ratio_range=_base_.resize_range,
        keep_ratio=True,
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomPad', size=crop_size, pad_val=pad_colour),
    dict(type='mmseg.RandomCrop', crop_size=crop_size),
    dict(type='PackWSSSInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=crop_size, keep_ratio=False),
    dict(type='LoadMask'),
    dict(type='TagsFromMask'),
    dict(type='PackWSSSInputs'),
]
seed_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=crop_size, keep_ratio=False),
    dict(type='PackWSSSInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
seed_dataloader = dict(dataset=dict(pipeline=seed_pipeline))
