# The embedded data set (tools/dataset_converters/synthetic.py), image tags, 96x96.
# Training and seeds read tags alone; masks are for measuring on `val` and `test`.
dataset_type = 'SyntheticTagDataset'
data_root = 'data/synthetic'
image_size = (96, 96)

train_pipeline = [
    dict(type='CountedRandomness'),
    dict(type='LoadImage'),
    dict(
        type='RandomResize', scale=image_size, ratio_range=(0.8, 1.25), keep_ratio=True
    ),
    dict(type='RandomFlip', prob=[0.25, 0.25], direction=['horizontal', 'vertical']),
    dict(type='RandomPad', size=image_size, pad_val=(128, 128, 128)),
    dict(type='mmseg.RandomCrop', crop_size=image_size),
    dict(type='PackWSSSInputs'),
]
seed_pipeline = [dict(type='LoadImage'), dict(type='PackWSSSInputs')]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='PackWSSSInputs'),
]

train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type='CountedSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/train.txt',
        tag_file='ImageSets/Segmentation/train_tags.txt',
        data_prefix=dict(img_path='JPEGImages'),
        pipeline=train_pipeline,
    ),
)
seed_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/train.txt',
        tag_file='ImageSets/Segmentation/train_tags.txt',
        data_prefix=dict(img_path='JPEGImages'),
        pipeline=seed_pipeline,
        test_mode=True,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/val.txt',
        tag_file='ImageSets/Segmentation/val_tags.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/test.txt',
        tag_file='ImageSets/Segmentation/test_tags.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        pipeline=test_pipeline,
        test_mode=True,
    ),
)

val_evaluator = [
    dict(type='SeedIoUMetric', split='embedded val'),
    dict(type='mmpretrain.AveragePrecision'),
]
test_evaluator = [
    dict(type='SeedIoUMetric', split='embedded test'),
    dict(type='mmpretrain.AveragePrecision'),
]
