# Your own images: training on pseudo labels, test and predictions on those held out.
# Predict another folder: --cfg-options test_dataloader.dataset.data_root=DIR
# test_dataloader.dataset.part=None test_evaluator.0.img_root=DIR
_base_ = 'custom.py'
label_root = 'work_dirs/custom/pseudo'
prediction_folder = 'work_dirs/custom/predictions'
crop_size = (224, 224)
images = dict(
    data_root=_base_.data_root, classes=_base_.classes, data_prefix=dict(img_path='')
)

train_pipeline = [
    dict(type='mmwsss.CountedRandomness'),
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadMask'),
    dict(
        type='RandomResize', scale=crop_size, ratio_range=(0.75, 1.5), keep_ratio=True
    ),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
seed_pipeline = []
test_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='Resize', scale=crop_size, keep_ratio=True),
    *([dict(type='mmwsss.LoadMask')] if _base_.mask_folder else []),
    dict(type='PackSegInputs'),
]

train_dataloader = dict(
    _delete_=True,
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='mmwsss.InfiniteCountedSampler', shuffle=True),
    dataset=dict(
        type='mmwsss.ImagePseudoLabelDataset',
        **images,
        label_root=label_root,
        pipeline=train_pipeline,
    ),
)
test_dataloader = dict(
    _delete_=True,
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmwsss.ImageTagDataset',
        **{**images, **_base_.masked},
        **_base_.val_part,
        val_share=_base_.val_share,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_evaluator = [
    dict(
        type='mmwsss.PredictionWriter',
        out_dir=prediction_folder,
        img_root=_base_.data_root,
    ),
    *([dict(type='mmwsss.ClassIoUMetric')] if _base_.mask_folder else []),
]
seed_dataloader = None
val_dataloader = None
val_evaluator = None
