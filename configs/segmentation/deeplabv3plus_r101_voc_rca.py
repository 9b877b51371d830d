# DeepLabV3+ with ResNet101 on RCA's pseudo labels of VOC 2012.
_base_ = 'deeplabv3plus_r101_voc_acr.py'
label_root = 'work_dirs/pseudo_labels/rca_voc'
train_dataloader = dict(dataset=dict(label_root=label_root))
