# DeepLabV2-ResNet101 on ACR's pseudo labels of COCO-2014.
_base_ = [
    '../_base_/models/deeplabv2_r101.py',
    '../_base_/datasets/coco_pseudo_321.py',
    '../_base_/schedules/deeplab_100k.py',
    '../_base_/segmentation_runtime.py',
]
model = dict(decode_head=dict(num_classes=81))
