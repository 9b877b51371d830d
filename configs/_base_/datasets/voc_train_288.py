# PASCAL VOC 2012 at 288 pixels, trained and measured on the 1,464 images of `train`
# (a tag list of `train` is made by tools/dataset_converters/voc_tags.py --split train).
_base_ = './voc_aug_384.py'

crop_size = (288, 288)
splits = 'ImageSets/Segmentation'

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
    dict(type='RandomPad', size=crop_size, pad_val=_base_.pad_colour),
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
train_lists = dict(ann_file=f'{splits}/train.txt', tag_file=f'{splits}/train_tags.txt')
train_dataloader = dict(
    batch_size=16, num_workers=2, dataset=dict(**train_lists, pipeline=train_pipeline)
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=16,
    num_workers=2,
    persistent_workers=False,
    dataset=dict(pipeline=test_pipeline),
)
seed_dataloader = dict(
    num_workers=2,
    dataset=dict(
        **train_lists,
        pipeline=[
            dict(type='LoadImage'),
            dict(type='Resize', scale=crop_size, keep_ratio=False),
            dict(type='PackWSSSInputs'),
        ],
    ),
)
