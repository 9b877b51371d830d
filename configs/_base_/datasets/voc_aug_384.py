# PASCAL VOC 2012, image tags, ACR's augmentation, 384x384.
# The seed protocol: training on the 10,582 images of `train_aug`, seeds measured (test)
# on the 1,464 images of `train` with their tags given; validation is on `val`. Seeds
# and pseudo labels are made for the training images, from their tags, without masks.
# Another place: --cfg-options {train,val,test,seed}_dataloader.dataset.data_root=DIR
dataset_type = 'VOCTagDataset'
data_root = 'data/VOCdevkit/VOC2012'
crop_size = (384, 384)
# Long side after resizing, relative to the crop (ACR's release).
resize_range = (0.9, 1 / 0.875)
# The mean colour (BGR) of the model's normalization: hybrid ViT's is 0.5.
pad_colour = (128, 128, 128)

image_prefix = dict(img_path='JPEGImages')
mask_prefix = dict(img_path='JPEGImages', seg_map_path='SegmentationClass')

train_pipeline = [
    dict(type='CountedRandomness'),
    dict(type='LoadImage'),
    dict(
        type='RandomResize', scale=crop_size, ratio_range=resize_range, keep_ratio=True
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomPad', size=crop_size, pad_val=pad_colour),
    dict(type='mmseg.RandomCrop', crop_size=crop_size),
    dict(type='PackWSSSInputs'),
]
# The mask is loaded after the resize: ground truth keeps the photograph's size.
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

train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='CountedSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/train_aug.txt',
        tag_file='ImageSets/Segmentation/train_aug_tags.txt',
        data_prefix=image_prefix,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=mask_prefix,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/train.txt',
        data_prefix=mask_prefix,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
# tools/generate_pseudo_labels.py chooses what each process reads.
seed_dataloader = dict(
    batch_size=1,
    num_workers=4,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/train_aug.txt',
        tag_file='ImageSets/Segmentation/train_aug_tags.txt',
        data_prefix=image_prefix,
        pipeline=seed_pipeline,
        test_mode=True,
    ),
)

# mmpretrain's multi-label figures are in percent.
val_evaluator = [
    dict(type='SeedIoUMetric', split='VOC 2012 val'),
    dict(type='mmpretrain.AveragePrecision'),
    dict(type='mmpretrain.AveragePrecision', average=None),
    dict(type='mmpretrain.MultiLabelMetric', thr=0.5),
    dict(type='mmpretrain.MultiLabelMetric', thr=0.5, average=None),
]
test_evaluator = [
    dict(type='SeedIoUMetric', split='VOC 2012 train (the seed protocol: 1,464)'),
    dict(type='mmpretrain.AveragePrecision'),
]
