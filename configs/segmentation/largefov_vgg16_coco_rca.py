# DeepLab-LargeFOV with VGG16 on RCA's pseudo labels of COCO-2014.
_base_ = 'largefov_vgg16_coco_acr.py'
label_root = 'work_dirs/pseudo_labels/rca_coco'
train_dataloader = dict(dataset=dict(label_root=label_root))
