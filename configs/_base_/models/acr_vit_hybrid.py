# ViT-hybrid-B, weights and input scaling of timm's vit_base_r50_s16_384.
model = dict(
    type='ACRClassifier',
    num_classes=20,
    data_preprocessor=dict(
        type='ImgDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True,
        pad_size_divisor=16,
    ),
    backbone=dict(
        type='AttentionViT',
        arch='vit_base_r50_s16_384',
        img_size=384,
        pretrained=True,
    ),
    view=dict(type='DihedralView', elements=('hflip',)),
    consistency=dict(
        type='AttentionConsistencyLoss', alpha=100.0, beta=100.0, distance='l1'
    ),
    localization=dict(
        kind='grad', start_block=10, affinity=True, views=('identity', 'hflip')
    ),
)
