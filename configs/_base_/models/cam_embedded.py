# CAM on the backbone and head of rca_embedded.py.
model = dict(
    type='CAMClassifier',
    num_classes=6,
    data_preprocessor=dict(
        type='ChannelsLastImgDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[63.75, 63.75, 63.75],
        bgr_to_rgb=True,
        pad_size_divisor=8,
    ),
    backbone=dict(type='TimmCNN', model_name='resnet10t', out_indices=(2,)),
    head=dict(type='CAMHead', in_channels=128, channels=128, num_convs=1),
)
