# DeepLabV2's head on a narrow ResNet-18 at stride 8, small enough to train from scratch
# on a CPU; the dilations are fitted to maps of 12x12.
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='mmwsss.ChannelsLastSegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(96, 96),
    ),
    backbone=dict(
        type='ResNetV1c',
        depth=18,
        stem_channels=32,
        base_channels=32,
        num_stages=3,
        strides=(1, 2, 1),
        dilations=(1, 1, 2),
        out_indices=(2,),
        norm_cfg=dict(type='BN', requires_grad=True),
    ),
    decode_head=dict(
        type='mmwsss.DeepLabV2Head',
        in_channels=128,
        in_index=0,
        num_classes=7,
        dilations=(1, 2, 3, 4),
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
