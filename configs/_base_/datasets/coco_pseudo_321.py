# COCO-2014: training on pseudo labels, crops of 321, multi-scale; test on `val`.
_base_ = 'voc_aug_pseudo_321.py'
data_root = 'data/coco2014'
label_root = 'work_dirs/pseudo_labels/acr_coco'
val_images = dict(
    type='mmwsss.COCOTagDataset',
    data_root=data_root,
    ann_file='lists/val.txt',
    data_prefix=dict(img_path='val2014', seg_map_path='masks/val2014'),
)
train_dataloader = dict(
    dataset=dict(
        type='mmwsss.COCOPseudoLabelDataset',
        data_root=data_root,
        label_root=label_root,
        data_prefix=dict(img_path='train2014'),
    )
)
val_dataloader = dict(dataset=val_images)
test_dataloader = dict(dataset=val_images)
