# RCA on the backbone and linear head of cam_lite0.py; the bank is as small as the data.
# Regions live in the features, as on the embedded data set (rca_embedded.py says why).
_base_ = 'cam_lite0.py'
model = dict(
    type='RCAClassifier',
    channels=320,
    head=dict(_delete_=True, type='CAMHead', num_convs=0),
    memory=dict(type='RegionMemory', num_slots=100, momentum=0.99, score_gate=0.7),
    contrast=dict(
        type='RegionContrastLoss', loss_weight=0.01, temperature=0.07, beta=8.0
    ),
    aggregation=dict(type='PrototypeAggregator', num_prototypes=10, scale='sqrt'),
    space='raw',
    coarse_weight=0.4,
    contrast_from=2,
)
