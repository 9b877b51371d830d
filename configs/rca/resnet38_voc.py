# RCA with ResNet38 on VOC 2012; 4 processes x 2 images.
_base_ = [
    '../_base_/models/rca_resnet38.py',
    '../_base_/datasets/voc_aug_368.py',
    '../_base_/schedules/rca_30e.py',
    '../_base_/rca_runtime.py',
]
