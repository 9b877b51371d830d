# ACR with DeiT-S on your own images, see docs/own_data.md; wants a GPU.
_base_ = [
    '../_base_/models/acr_deit_small.py',
    '../_base_/datasets/custom.py',
    '../_base_/schedules/acr_15e.py',
    '../_base_/default_runtime.py',
]
work_dir = 'work_dirs/custom/acr'
model = dict(num_classes=len(_base_.classes))
train_dataloader = dict(batch_size=4)
