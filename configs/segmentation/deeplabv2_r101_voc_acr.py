# DeepLabV2-ResNet101 on ACR's pseudo labels of VOC 2012.
_base_ = [
    '../_base_/models/deeplabv2_r101.py',
    '../_base_/datasets/voc_aug_pseudo_321.py',
    '../_base_/schedules/deeplab_20k.py',
    '../_base_/segmentation_runtime.py',
]
