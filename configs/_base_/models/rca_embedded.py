# RCA on a small CNN at stride 8 for 96x96 images, trained from scratch. A projection
# learned from scratch outgrows the features and makes prototypes move; regions live in
# the features themselves, and the softmax over prototypes is scaled by 1 / sqrt(D).
model = dict(
    type='RCAClassifier',
    num_classes=6,
    channels=128,
    data_preprocessor=dict(
        type='ChannelsLastImgDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[63.75, 63.75, 63.75],
        bgr_to_rgb=True,
        pad_size_divisor=8,
    ),
    backbone=dict(type='TimmCNN', model_name='resnet10t', out_indices=(2,)),
    head=dict(type='CAMHead', channels=128, num_convs=1),
    memory=dict(type='RegionMemory', num_slots=100, momentum=0.99, score_gate=0.7),
    contrast=dict(
        type='RegionContrastLoss', loss_weight=0.01, temperature=0.07, beta=8.0
    ),
    aggregation=dict(type='PrototypeAggregator', num_prototypes=5, scale='sqrt'),
    space='raw',
    coarse_weight=0.4,
    contrast_from=2,
)
