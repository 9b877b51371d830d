# DeepLab-LargeFOV with VGG16 on ACR's labels of COCO-2014, on DeepLabV2's schedule.
_base_ = [
    '../_base_/models/largefov_vgg16.py',
    '../_base_/datasets/coco_pseudo_321.py',
    '../_base_/schedules/deeplab_100k.py',
    '../_base_/segmentation_runtime.py',
]
model = dict(decode_head=dict(num_classes=81))
