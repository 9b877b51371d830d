# composed_lite0_cached.py with RCA for the linear CAM.
_base_ = './composed_lite0_cached.py'
model = dict(
    maps=dict(
        _delete_=True,
        type='RCAClassifier',
        channels=432,
        head=dict(type='CAMHead', num_convs=0),
        memory=dict(type='RegionMemory', num_slots=100),
        contrast=dict(type='RegionContrastLoss'),
        aggregation=dict(type='PrototypeAggregator', num_prototypes=10, scale='sqrt'),
        space='raw',
    )
)
