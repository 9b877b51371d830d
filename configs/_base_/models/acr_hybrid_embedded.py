# A hybrid of two blocks on a small CNN for 96x96 images, trained from scratch. Such
# attention stays near uniform: the warm start, not part of the paper, informs it, and
# weights of 100 would flatten it again.
model = dict(
    type='ACRClassifier',
    num_classes=6,
    data_preprocessor=dict(
        type='ChannelsLastImgDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[63.75, 63.75, 63.75],
        bgr_to_rgb=True,
        pad_size_divisor=8,
    ),
    backbone=dict(
        type='AttentionViT',
        arch=dict(embed_dim=96, depth=2, num_heads=4, mlp_ratio=2),
        img_size=96,
        stem=dict(model_name='resnet10t', out_index=2),
    ),
    view=dict(type='DihedralView', elements=('hflip',)),
    consistency=dict(
        type='AttentionConsistencyLoss', alpha=10.0, beta=10.0, distance='l1'
    ),
    warm_start=dict(type='AttentionWarmStartLoss', loss_weight=0.1, temperature=0.3),
    localization=dict(start_block=1),
)
