# IRN, narrow, on a ResNet-10 that learns with it.
model = dict(
    type='IRNetwork',
    data_preprocessor=dict(
        type='ChannelsLastImgDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[63.75, 63.75, 63.75],
        bgr_to_rgb=True,
        pad_size_divisor=8,
    ),
    backbone=dict(type='TimmCNN', model_name='resnet10t', out_indices=(0, 1, 2)),
    in_channels=(64, 64, 128),
    strides=(2, 4, 8),
    stride=2,
    radius=6,
    test_radius=5,
    displacement_channels=(32, 32, 64),
    fused_channels=64,
    freeze_backbone=False,
)
