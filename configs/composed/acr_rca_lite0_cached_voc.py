# ACR's attention spreads the maps of RCA: consistency, memory bank and aggregation in
# one classifier.
_base_ = 'acr_cam_lite0_cached_voc.py'
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
custom_hooks = [
    dict(type='CountedRandomnessHook'),
    dict(type='RegionMemoryHook'),
    dict(type='PrototypeRefreshHook', interval=1),
]
optim_wrapper = dict(optimizer=dict(lr=1e-3))
