# PASCAL VOC 2012 with features of a frozen network in place of images
# (tools/cache_features.py): training on pseudo labels, mirrored at random; test on
# `val`, whose features have a folder of their own.
_base_ = './voc_aug_pseudo_321.py'

features = 'work_dirs/features/lite0_288'
val_features = 'work_dirs/features/lite0_288_val'
label_size = (72, 72)

train_pipeline = [
    dict(type='mmwsss.CountedRandomness'),
    dict(type='mmwsss.LoadFeatures', root=features),
    dict(type='mmwsss.LoadMask'),
    # the labels alone, for a batch; the loss brings predictions to their size
    dict(
        type='KeyMapper',
        mapping=dict(img='gt_seg_map'),
        auto_remap=True,
        transforms=[
            dict(
                type='Resize',
                scale=label_size,
                keep_ratio=False,
                interpolation='nearest',
            )
        ],
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='mmwsss.LoadFeatures', root=val_features),
    dict(type='mmwsss.LoadMask'),
    dict(type='PackSegInputs'),
]
tta_pipeline = None
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
