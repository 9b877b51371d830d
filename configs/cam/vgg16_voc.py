# CAM and OAA with VGG16 on VOC 2012, on RCA's settings; 4 processes x 2 images.
_base_ = [
    '../_base_/models/cam_vgg16.py',
    '../_base_/datasets/voc_aug_368.py',
    '../_base_/schedules/rca_30e.py',
    '../_base_/accumulating_runtime.py',
]
