# CAM with ResNet18 on your own images, see docs/own_data.md; minutes without a GPU.
_base_ = [
    '../_base_/models/cam_resnet18.py',
    '../_base_/datasets/custom.py',
    '../_base_/schedules/lite0_8e.py',
    '../_base_/default_runtime.py',
]
work_dir = 'work_dirs/custom/cam'
model = dict(num_classes=len(_base_.classes))
