# CAM with a linear head on ResNet18 at stride 16 (by dilation), small enough to train
# on a CPU. Without a network: --cfg-options model.backbone.pretrained=False
model = dict(
    type='CAMClassifier',
    num_classes=20,
    data_preprocessor=dict(
        type='ImgDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=16,
    ),
    backbone=dict(
        type='TimmCNN',
        model_name='resnet18',
        output_stride=16,
        out_indices=(4,),
        pretrained=True,
    ),
    head=dict(type='CAMHead', in_channels=512, num_convs=0),
)
