# DeepLabV2 with ResNet-101 at stride 8. As in its release the batch normalization
# keeps ImageNet's statistics, so the figures do not depend on the number of processes.
# Without the official weights: --cfg-options model.backbone.init_cfg=None
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(321, 321),
    ),
    backbone=dict(
        type='ResNet',
        depth=101,
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        out_indices=(3,),
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    ),
    decode_head=dict(
        type='mmwsss.DeepLabV2Head',
        in_channels=2048,
        in_index=0,
        num_classes=21,
        # Undecided pixels take no part, also not in the mean.
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
