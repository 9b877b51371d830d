# VGG16 at stride 8, weights and input scaling of torchvision's vgg16. Without the
# official weights: --cfg-options model.backbone.pretrained=False
model = dict(
    type='RCAClassifier',
    num_classes=20,
    channels=512,
    data_preprocessor=dict(
        type='ImgDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(type='VGGStride8', pretrained=True),
    head=dict(type='CAMHead', channels=512, num_convs=3),
    memory=dict(type='RegionMemory', num_slots=500, momentum=0.99, score_gate=0.7),
    contrast=dict(
        type='RegionContrastLoss', loss_weight=0.01, temperature=0.07, beta=8.0
    ),
    aggregation=dict(type='PrototypeAggregator', num_prototypes=10),
    coarse_weight=0.4,
    contrast_from=2,
)
