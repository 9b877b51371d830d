# DeepLab-LargeFOV with VGG16 at stride 8. Without the official weights:
# --cfg-options model.backbone.pretrained=False
_base_ = 'deeplabv2_r101.py'
model = dict(
    backbone=dict(_delete_=True, type='mmwsss.VGGStride8', pretrained=True),
    decode_head=dict(
        _delete_=True,
        type='mmwsss.LargeFOVHead',
        in_channels=512,
        in_index=0,
        num_classes=21,
        dilation=12,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    ),
)
