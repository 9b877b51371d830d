# PSA's AffinityNet, narrow, on a ResNet-10 that learns with it.
model = dict(
    type='PSANetwork',
    data_preprocessor=dict(
        type='ImgDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[63.75, 63.75, 63.75],
        bgr_to_rgb=True,
        pad_size_divisor=8,
    ),
    backbone=dict(type='TimmCNN', model_name='resnet10t', out_indices=(0, 1, 2)),
    in_channels=(64, 64, 128),
    channels=(16, 32, 64),
    stride=4,
    radius=4,
)
