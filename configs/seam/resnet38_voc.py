# SEAM with ResNet38 on VOC 2012, the paper's settings; 4 processes x 2 images. No host
# offers ImageNet weights for torch: model.backbone.pretrained is a state dict's path.
_base_ = [
    '../_base_/models/cam_vgg16.py',
    './_base_/voc_aug_448.py',
    '../_base_/schedules/psa_8e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='SEAMClassifier',
    backbone=dict(_delete_=True, type='ResNet38', out_indices=(2, 3, 5)),
    head=dict(in_channels=4096, num_convs=0),
    correlation=dict(in_channels=(512, 1024), channels=(64, 128)),
    localization=dict(scales=(0.5, 1.0, 1.5, 2.0)),
)
# psa_8e.py divides it by 10 for the backbone, and freezes the same first layers.
optim_wrapper = dict(optimizer=dict(lr=0.1))
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
