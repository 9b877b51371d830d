# PASCAL VOC 2012: affinity learned from labels with undecided pixels, crops of 512 of
# images resized by 0.5 to 1.5; their long side mostly is 500 pixels.
# 32 images a step in all: 4 processes x 8 images.
_base_ = './voc_aug_affinity_448.py'
crop_size = (512, 512)
train_pipeline = [
    dict(type='CountedRandomness'),
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(
        type='RandomResize', scale=(500, 500), ratio_range=(0.5, 1.5), keep_ratio=True
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomPad', size=crop_size, pad_val=_base_.pad_colour),
    dict(type='mmseg.RandomCrop', crop_size=crop_size),
    dict(type='PackWSSSInputs'),
]
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
