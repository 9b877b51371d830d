# PSA's AffinityNet with ResNet38 on COCO-2014; 4 processes x 2 images.
_base_ = [
    '../_base_/models/psa_resnet38.py',
    '../_base_/datasets/coco_affinity_448.py',
    '../_base_/schedules/psa_8e.py',
    '../_base_/default_runtime.py',
]
