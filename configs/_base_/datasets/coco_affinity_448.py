# COCO-2014: affinity learned from labels with undecided pixels, crops of 448.
_base_ = './voc_aug_affinity_448.py'
data_root = 'data/coco2014'
label_root = 'work_dirs/affinity_labels/coco'
train_dataloader = dict(
    dataset=dict(
        type='COCOPseudoLabelDataset',
        data_root=data_root,
        label_root=label_root,
        data_prefix=dict(img_path='train2014'),
    )
)
