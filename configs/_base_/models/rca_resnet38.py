# The wide ResNet38 of PSA and SEAM at stride 8. No host offers its ImageNet weights in
# torch's format: model.backbone.pretrained is the path of a state dict.
_base_ = 'rca_vgg16.py'
model = dict(
    channels=4096,
    backbone=dict(_delete_=True, type='ResNet38', pretrained=False, norm_eval=True),
)
