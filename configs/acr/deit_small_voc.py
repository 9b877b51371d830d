# ACR with DeiT-S at 224 pixels on VOC 2012.
_base_ = [
    '../_base_/models/acr_deit_small.py',
    '../_base_/datasets/voc_aug_224.py',
    '../_base_/schedules/acr_15e.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=1)
