# voc_aug_384 with a standard augmentation: random resized crop, flip, colour jitter.
_base_ = './voc_aug_384.py'

crop_size = (384, 384)
# Ours: tags hold for the whole image, a smaller crop often misses what they name.
crop_ratio_range = (0.25, 1.0)
# RCA's colour jitter.
colour_jitter = dict(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1)

train_pipeline = [
    dict(type='CountedRandomness'),
    dict(type='LoadImage'),
    dict(
        type='mmpretrain.RandomResizedCrop',
        scale=crop_size,
        crop_ratio_range=crop_ratio_range,
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmpretrain.ColorJitter', **colour_jitter),
    dict(type='PackWSSSInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
