# A hybrid of two blocks on EfficientNet-Lite0 at stride 16 (by dilation), its weights
# made by tools/model_converters/efficientnet_lite0.py. The blocks start from scratch:
# the warm start, not part of the paper, informs their attention first.
checkpoint = 'work_dirs/pretrained/tf_efficientnet_lite0.pth'
model = dict(
    type='ACRClassifier',
    num_classes=20,
    data_preprocessor=dict(
        type='ChannelsLastImgDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True,
        pad_size_divisor=16,
    ),
    backbone=dict(
        type='AttentionViT',
        arch=dict(embed_dim=192, depth=2, num_heads=4, mlp_ratio=2),
        img_size=288,
        stem=dict(
            model_name='tf_efficientnet_lite0',
            out_index=4,
            pretrained=checkpoint,
            args=dict(output_stride=16),
        ),
    ),
    view=dict(type='DihedralView', elements=('hflip',)),
    consistency=dict(
        type='AttentionConsistencyLoss',
        alpha=100.0,
        beta=100.0,
        distance='l1',
        ramp=(0.5, 0.6),
    ),
    warm_start=dict(
        type='AttentionWarmStartLoss', loss_weight=1.0, temperature=0.15, until=0.6
    ),
    localization=dict(start_block=0),
)
