# DeepLabV3+ with ResNet101 on ACR's pseudo labels of COCO-2014.
_base_ = [
    '../_base_/models/deeplabv3plus_r101.py',
    '../_base_/datasets/coco_pseudo_321.py',
    '../_base_/schedules/deeplabv3plus_100k.py',
    '../_base_/segmentation_runtime.py',
]
model = dict(decode_head=dict(num_classes=81), auxiliary_head=dict(num_classes=81))
