# IRN on EfficientNet-Lite0 at stride 16, which is frozen; boundaries at stride 4. Its
# weights are made by tools/model_converters/efficientnet_lite0.py.
checkpoint = 'work_dirs/pretrained/tf_efficientnet_lite0.pth'
model = dict(
    type='IRNetwork',
    data_preprocessor=dict(
        type='ImgDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True,
        pad_size_divisor=16,
    ),
    backbone=dict(
        type='TimmCNN',
        model_name='tf_efficientnet_lite0',
        output_stride=16,
        out_indices=(0, 1, 2, 3, 4),
        pretrained=checkpoint,
    ),
    in_channels=(16, 24, 40, 112, 320),
    strides=(2, 4, 8, 16, 16),
)
