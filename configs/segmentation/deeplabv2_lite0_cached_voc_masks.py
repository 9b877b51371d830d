# deeplabv2_lite0_cached_voc.py on the masks of `train`.
_base_ = 'deeplabv2_lite0_cached_voc.py'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='PascalVOCDataset',
        data_root=_base_.data_root,
        ann_file='ImageSets/Segmentation/train.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        pipeline=_base_.train_pipeline,
    )
)
