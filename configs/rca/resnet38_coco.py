# RCA with ResNet38 on COCO-2014; 4 processes x 2 images.
_base_ = [
    '../_base_/models/rca_resnet38.py',
    '../_base_/datasets/coco_368.py',
    '../_base_/schedules/rca_30e.py',
    '../_base_/rca_runtime.py',
]
model = dict(num_classes=80)
