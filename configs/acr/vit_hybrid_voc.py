# ACR with ViT-hybrid-B on VOC 2012, the supplement's settings; 4 processes x 1 image.
_base_ = [
    '../_base_/models/acr_vit_hybrid.py',
    '../_base_/datasets/voc_aug_384.py',
    '../_base_/schedules/acr_15e.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=1)
