# RCA, table 5 and the choices around the bank: its size, the prototypes of a class,
# mixup, where the regions live, and what the release does otherwise.
title = 'RCA: memory bank, prototypes and mixup'
protocol = 'configs/_base_/studies/voc.py'
config = 'configs/rca/lite0_voc.py'
baseline = 'bank of 100'
cells = [
    dict(label='bank of 50', options={'model.memory.num_slots': 50}),
    dict(label='bank of 100', options={'model.memory.num_slots': 100}),
    dict(label='bank of 200', options={'model.memory.num_slots': 200}),
    dict(label='bank of 500', options={'model.memory.num_slots': 500}),
    dict(label='bank of 1000', options={'model.memory.num_slots': 1000}),
    dict(label='1 prototype', options={'model.aggregation.num_prototypes': 1}),
    dict(label='5 prototypes', options={'model.aggregation.num_prototypes': 5}),
    dict(label='20 prototypes', options={'model.aggregation.num_prototypes': 20}),
    dict(label='no mixup', options={'model.contrast.mixup': False}),
    dict(
        label='projected regions',
        options={'model.space': 'projected', 'model.aggregation.scale': 1.0},
    ),
    dict(
        label='ImageNet normalization',
        options={
            'model.data_preprocessor.mean': [123.675, 116.28, 103.53],
            'model.data_preprocessor.std': [58.395, 57.12, 57.375],
        },
    ),
    dict(
        label='all slots count',
        options={'model.memory.init': 'normal', 'model.memory.valid_only': False},
    ),
    dict(
        label="the release's choices",
        options={
            'model.memory.init': 'normal',
            'model.memory.valid_only': False,
            'model.contrast.same_class': True,
            'model.contrast.reduction': 'sum',
            'model.aggregation': dict(_delete_=True, type='ReleasedAggregator'),
            'model.space': 'split',
        },
    ),
]
