# DeepLabV2-ResNet101 on pseudo labels of your own images, see docs/own_data.md.
_base_ = [
    '../_base_/models/deeplabv2_r101.py',
    '../_base_/datasets/custom_pseudo.py',
    '../_base_/schedules/deeplab_20k.py',
    '../_base_/segmentation_runtime.py',
]
work_dir = 'work_dirs/custom/deeplabv2'
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=len(_base_.classes) + 1),
)
val_cfg = None
