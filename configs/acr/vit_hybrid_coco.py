# ACR with ViT-hybrid-B on COCO-2014: weights of 100, 5 epochs; 4 processes x 1 image.
_base_ = [
    '../_base_/models/acr_vit_hybrid.py',
    '../_base_/datasets/coco_384.py',
    '../_base_/schedules/acr_5e.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=80)
train_dataloader = dict(batch_size=1)
