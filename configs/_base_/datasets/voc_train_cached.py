# PASCAL VOC 2012 as voc_train_288.py, with features of a frozen network in place of
# images (tools/cache_features.py): trained and measured on `train`, mirrored at random.
_base_ = './voc_train_288.py'

features = 'work_dirs/features/lite0_288'

train_pipeline = [
    dict(type='CountedRandomness'),
    dict(type='LoadFeatures', root=features),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
test_pipeline = [
    dict(type='LoadFeatures', root=features),
    dict(type='LoadMask'),
    dict(type='TagsFromMask'),
    dict(type='PackWSSSInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=16,
    dataset=dict(ann_file='ImageSets/Segmentation/train.txt', pipeline=test_pipeline),
)
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
seed_dataloader = dict(
    batch_size=16,
    dataset=dict(
        pipeline=[dict(type='LoadFeatures', root=features), dict(type='PackWSSSInputs')]
    ),
)
