# CAM on RCA's backbone and head. Without the official weights:
# --cfg-options model.backbone.pretrained=False
model = dict(
    type='CAMClassifier',
    num_classes=20,
    data_preprocessor=dict(
        type='ImgDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(type='VGGStride8', pretrained=True),
    head=dict(type='CAMHead', in_channels=512, channels=512, num_convs=3),
)
