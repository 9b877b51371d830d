# PSA's AffinityNet on the wide ResNet38 at stride 8, its normalization frozen. No host
# offers ImageNet weights in torch's format: model.backbone.pretrained is the path of a
# state dict.
model = dict(
    type='PSANetwork',
    data_preprocessor=dict(
        type='ImgDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=8,
    ),
    backbone=dict(
        type='ResNet38', out_indices=(2, 3, 5), pretrained=False, norm_eval=True
    ),
    in_channels=(512, 1024, 4096),
    channels=(64, 128, 256),
    stride=8,
    radius=5,
)
