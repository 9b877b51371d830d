# RCA with VGG16 on your own images, see docs/own_data.md; wants a GPU.
_base_ = [
    '../_base_/models/rca_vgg16.py',
    '../_base_/datasets/custom.py',
    '../_base_/schedules/rca_30e.py',
    '../_base_/rca_runtime.py',
]
work_dir = 'work_dirs/custom/rca'
model = dict(num_classes=len(_base_.classes))
train_dataloader = dict(batch_size=8)
