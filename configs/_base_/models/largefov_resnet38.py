# DeepLab-LargeFOV with the wide ResNet38 of PSA and SEAM at stride 8. No host offers
# its ImageNet weights in torch's format: model.backbone.pretrained is the path of a
# state dict.
_base_ = 'largefov_vgg16.py'
model = dict(
    backbone=dict(
        _delete_=True, type='mmwsss.ResNet38', pretrained=False, norm_eval=True
    ),
    decode_head=dict(in_channels=4096, channels=512),
)
