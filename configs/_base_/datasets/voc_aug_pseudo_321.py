# PASCAL VOC 2012: training on pseudo labels, crops of 321, multi-scale; test on `val`.
# Other places: --cfg-options train_dataloader.dataset.label_root=DIR
# {train,val,test}_dataloader.dataset.data_root=DIR
# 10 images a step in all: 1 process x 10, or 2 x 5 with train_dataloader.batch_size=5.
data_root = 'data/VOCdevkit/VOC2012'
label_root = 'work_dirs/pseudo_labels/acr_voc'
crop_size = (321, 321)
train_scales = (0.5, 0.75, 1.0, 1.25, 1.5)
test_scales = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)

train_pipeline = [
    dict(type='mmwsss.CountedRandomness'),
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadMask'),
    dict(
        type='RandomChoice',
        transforms=[
            [dict(type='Resize', scale_factor=scale, keep_ratio=True)]
            for scale in train_scales
        ],
    ),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadMask'),
    dict(type='PackSegInputs'),
]
# For mmseg's test tool with --tta.
tta_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale_factor=scale, keep_ratio=True)
                for scale in test_scales
            ],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='mmwsss.LoadMask')],
            [dict(type='PackSegInputs')],
        ],
    ),
]

train_dataloader = dict(
    batch_size=10,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='mmwsss.InfiniteCountedSampler', shuffle=True),
    dataset=dict(
        type='mmwsss.VOCPseudoLabelDataset',
        data_root=data_root,
        label_root=label_root,
        data_prefix=dict(img_path='JPEGImages'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='PascalVOCDataset',
        data_root=data_root,
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmwsss.ClassIoUMetric')
test_evaluator = val_evaluator
