# RCA, table 4: its parts one by one, on the same backbone, head and budget.
title = 'RCA: contrast and aggregation'
protocol = 'configs/_base_/studies/voc.py'
config = 'configs/rca/lite0_voc.py'
baseline = 'two heads'
cells = [
    dict(
        label='two heads',
        options={
            'model.memory': None,
            'model.contrast': None,
            'model.aggregation': None,
            'custom_hooks': [dict(type='CountedRandomnessHook')],
        },
    ),
    dict(
        label='contrast',
        options={
            'model.aggregation': None,
            'custom_hooks': [
                dict(type='CountedRandomnessHook'),
                dict(type='RegionMemoryHook'),
            ],
        },
    ),
    dict(label='aggregation', options={'model.contrast': None}),
    dict(label='both'),
]
