# IRN with ResNet-50 on VOC 2012; 4 processes x 8 images.
_base_ = [
    '../_base_/models/irn_r50.py',
    '../_base_/datasets/voc_aug_affinity_512.py',
    '../_base_/schedules/irn_3e.py',
    '../_base_/default_runtime.py',
]
