# PASCAL VOC 2012: affinity learned from labels with undecided pixels, crops of 288, in
# one process.
_base_ = './voc_aug_affinity_448.py'
crop_size = (288, 288)
train_pipeline = [
    dict(type='CountedRandomness'),
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomPad', size=crop_size, pad_val=(128, 128, 128)),
    dict(type='mmseg.RandomCrop', crop_size=crop_size),
    dict(type='PackWSSSInputs'),
]
train_dataloader = dict(
    batch_size=16, num_workers=2, dataset=dict(pipeline=train_pipeline)
)
