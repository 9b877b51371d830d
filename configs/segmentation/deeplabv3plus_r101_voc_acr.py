# DeepLabV3+ with ResNet101 on ACR's pseudo labels of VOC 2012.
_base_ = [
    '../_base_/models/deeplabv3plus_r101.py',
    '../_base_/datasets/voc_aug_pseudo_321.py',
    '../_base_/schedules/deeplabv3plus_20k.py',
    '../_base_/segmentation_runtime.py',
]
