# DeepLab-LargeFOV with ResNet38 on ACR's labels of VOC 2012, on DeepLabV2's schedule.
_base_ = [
    '../_base_/models/largefov_resnet38.py',
    '../_base_/datasets/voc_aug_pseudo_321.py',
    '../_base_/schedules/deeplab_20k.py',
    '../_base_/segmentation_runtime.py',
]
