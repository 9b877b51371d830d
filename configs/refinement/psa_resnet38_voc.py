# PSA's AffinityNet with ResNet38 on VOC 2012; 4 processes x 2 images.
_base_ = [
    '../_base_/models/psa_resnet38.py',
    '../_base_/datasets/voc_aug_affinity_448.py',
    '../_base_/schedules/psa_8e.py',
    '../_base_/default_runtime.py',
]
