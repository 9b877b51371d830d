# The embedded data set at 96 pixels: training on pseudo labels, test on its `test`.
# Other places: --cfg-options train_dataloader.dataset.label_root=DIR
# {train,test}_dataloader.dataset.data_root=DIR
data_root = 'data/synthetic'
label_root = 'work_dirs/pseudo_labels/embedded'
crop_size = (96, 96)
metainfo = dict(
    classes=('background', 'torch', 'brush', 'camera', 'radio', 'cactus', 'beetle'),
    palette=[
        [0, 0, 0],
        [220, 110, 20],
        [40, 70, 200],
        [120, 120, 130],
        [200, 30, 60],
        [20, 160, 60],
        [110, 40, 140],
    ],
)

train_pipeline = [
    dict(type='mmwsss.CountedRandomness'),
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadMask'),
    dict(
        type='RandomResize', scale=crop_size, ratio_range=(0.75, 1.5), keep_ratio=True
    ),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=[0.25, 0.25], direction=['horizontal', 'vertical']),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadMask'),
    dict(type='PackSegInputs'),
]

train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='mmwsss.InfiniteCountedSampler', shuffle=True),
    dataset=dict(
        type='mmwsss.PseudoLabelDataset',
        data_root=data_root,
        label_root=label_root,
        metainfo=metainfo,
        data_prefix=dict(img_path='JPEGImages'),
        pipeline=train_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset',
        data_root=data_root,
        ann_file='ImageSets/Segmentation/test.txt',
        metainfo=metainfo,
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_evaluator = dict(type='mmwsss.ClassIoUMetric')
