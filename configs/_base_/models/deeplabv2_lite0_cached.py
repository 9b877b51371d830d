# DeepLabV2's head on features of EfficientNet-Lite0 that were computed beforehand; the
# dilations are fitted to maps of 18x18.
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', size_divisor=1, seg_pad_val=255),
    backbone=dict(type='mmwsss.CachedFeatures', channels=432),
    decode_head=dict(
        type='mmwsss.DeepLabV2Head',
        in_channels=432,
        in_index=0,
        num_classes=21,
        dilations=(1, 2, 3, 4),
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
