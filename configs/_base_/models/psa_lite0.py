# PSA's AffinityNet on EfficientNet-Lite0 at stride 8 (by dilation), its weights made by
# tools/model_converters/efficientnet_lite0.py.
checkpoint = 'work_dirs/pretrained/tf_efficientnet_lite0.pth'
model = dict(
    type='PSANetwork',
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
        output_stride=8,
        out_indices=(2, 3, 4),
        pretrained=checkpoint,
        norm_eval=True,
    ),
    in_channels=(40, 112, 320),
    channels=(64, 128, 256),
    stride=8,
    radius=5,
)
