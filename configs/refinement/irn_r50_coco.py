# IRN with ResNet-50 on COCO-2014; 4 processes x 8 images.
_base_ = [
    '../_base_/models/irn_r50.py',
    '../_base_/datasets/coco_affinity_512.py',
    '../_base_/schedules/irn_3e.py',
    '../_base_/default_runtime.py',
]
