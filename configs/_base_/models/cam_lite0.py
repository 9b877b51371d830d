# CAM with a linear head on EfficientNet-Lite0 at stride 16 (by dilation), its weights
# made by tools/model_converters/efficientnet_lite0.py.
checkpoint = 'work_dirs/pretrained/tf_efficientnet_lite0.pth'
model = dict(
    type='CAMClassifier',
    num_classes=20,
    data_preprocessor=dict(
        type='ChannelsLastImgDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True,
        pad_size_divisor=16,
    ),
    backbone=dict(
        type='TimmCNN',
        model_name='tf_efficientnet_lite0',
        output_stride=16,
        out_indices=(4,),
        pretrained=checkpoint,
    ),
    head=dict(type='CAMHead', in_channels=320, num_convs=0),
)
