# PASCAL VOC 2012, image tags, SEAM's augmentation: the long side resized to 448 to 768
# pixels, crops of 448; seeds of images as they are. The colour jitter is the release's.
_base_ = '../../_base_/datasets/voc_aug_384.py'
crop_size = (448, 448)
# ImageNet's mean colour (BGR).
pad_colour = (104, 116, 124)
train_pipeline = [
    dict(type='CountedRandomness'),
    dict(type='LoadImage'),
    dict(
        type='RandomResize',
        scale=crop_size,
        ratio_range=(1.0, 768 / 448),
        keep_ratio=True,
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='mmpretrain.ColorJitter',
        brightness=0.3,
        contrast=0.3,
        saturation=0.3,
        hue=0.1,
        backend='cv2',
    ),
    dict(type='RandomPad', size=crop_size, pad_val=pad_colour),
    dict(type='mmseg.RandomCrop', crop_size=crop_size),
    dict(type='PackWSSSInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='TagsFromMask'),
    dict(type='PackWSSSInputs'),
]
seed_pipeline = [dict(type='LoadImage'), dict(type='PackWSSSInputs')]
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
seed_dataloader = dict(dataset=dict(pipeline=seed_pipeline))
