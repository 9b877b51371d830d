# RCA's parts one by one with CAM, the last stage trained; maps of the third and the
# last epoch are accumulated in each.
_base_ = '../rca_parts.py'
title = 'RCA with a trained last stage: contrast and aggregation'
protocol = 'configs/_base_/studies/voc_tuned.py'
config = 'configs/rca/lite0_tuned_voc.py'
baseline = 'CAM'
cells = [
    dict(
        label='CAM',
        config='configs/cam/lite0_tuned_voc.py',
        options={
            'optim_wrapper.optimizer.lr': 1e-3,
            'model.localization.scales': (1.0,),
            'custom_hooks': [
                dict(type='CountedRandomnessHook'),
                dict(type='MapAccumulationHook', begin=2, interval=2),
            ],
        },
    ),
    dict(
        label='OAA++',
        options={
            'model.memory': None,
            'model.contrast': None,
            'model.aggregation': None,
            'custom_hooks': [
                dict(type='CountedRandomnessHook'),
                dict(type='MapAccumulationHook', begin=2, interval=2),
            ],
        },
    ),
    dict(
        label='+RSC',
        options={
            'model.aggregation': None,
            'custom_hooks': [
                dict(type='CountedRandomnessHook'),
                dict(type='RegionMemoryHook'),
                dict(type='MapAccumulationHook', begin=2, interval=2),
            ],
        },
    ),
    dict(label='+RSA', options={'model.contrast': None}),
    dict(label='RCA'),
]
options = {
    'custom_hooks': [
        dict(type='CountedRandomnessHook'),
        dict(type='RegionMemoryHook'),
        dict(type='PrototypeRefreshHook', interval=1),
        dict(type='MapAccumulationHook', begin=2, interval=2),
    ]
}
