# DeepLabV3+ with ResNet-101 at stride 8, of mmseg's parts and with its settings; batch
# normalization is each process's own, and with SyncBN common to all (norm_cfg.type).
# Without the official weights: --cfg-options model.backbone.init_cfg=None
_base_ = 'deeplabv2_r101.py'
norm_cfg = dict(type='BN', requires_grad=True)
loss = dict(type='CrossEntropyLoss', avg_non_ignore=True)
model = dict(
    backbone=dict(
        type='ResNetV1c',
        out_indices=(0, 1, 2, 3),
        norm_cfg=norm_cfg,
        norm_eval=False,
        contract_dilation=True,
        init_cfg=dict(checkpoint='open-mmlab://resnet101_v1c'),
    ),
    decode_head=dict(
        _delete_=True,
        type='DepthwiseSeparableASPPHead',
        in_channels=2048,
        in_index=3,
        channels=512,
        dilations=(1, 12, 24, 36),
        c1_in_channels=256,
        c1_channels=48,
        dropout_ratio=0.1,
        num_classes=21,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=loss,
    ),
    auxiliary_head=dict(
        type='FCNHead',
        in_channels=1024,
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=21,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(loss, loss_weight=0.4),
    ),
)
