# DeepLab-LargeFOV with VGG16 on RCA's pseudo labels of VOC 2012.
_base_ = 'largefov_vgg16_voc_acr.py'
label_root = 'work_dirs/pseudo_labels/rca_voc'
train_dataloader = dict(dataset=dict(label_root=label_root))
