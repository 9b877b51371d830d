# ACR and a linear CAM on one frozen stem, its features computed beforehand.
model = dict(
    type='ComposedClassifier',
    num_classes=20,
    data_preprocessor=dict(type='ChannelsLastImgDataPreprocessor', pad_size_divisor=1),
    acr=dict(
        type='ACRClassifier',
        backbone=dict(
            type='AttentionViT',
            arch=dict(embed_dim=192, depth=2, num_heads=4, mlp_ratio=2),
            img_size=18,
            stem=dict(cached=432),
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
    ),
    maps=dict(
        type='CAMClassifier', head=dict(type='CAMHead', in_channels=432, num_convs=0)
    ),
    steps=2,
)
