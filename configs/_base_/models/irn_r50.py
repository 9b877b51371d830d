# IRN on ResNet-50 at stride 16, which is frozen; boundaries at stride 4. timm gives the
# first level at stride 2, and dilates the last; its weights are torchvision's.
# Without them: --cfg-options model.backbone.pretrained=False
model = dict(
    type='IRNetwork',
    data_preprocessor=dict(
        type='ImgDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=16,
    ),
    backbone=dict(
        type='TimmCNN',
        model_name='resnet50.tv_in1k',
        output_stride=16,
        out_indices=(0, 1, 2, 3, 4),
        pretrained=True,
    ),
    in_channels=(64, 256, 512, 1024, 2048),
    strides=(2, 4, 8, 16, 16),
)
