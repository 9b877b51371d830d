# ACR, table 1 of its supplement: the second view. Factors and probabilities are ours.
title = 'ACR: the second view'
protocol = 'configs/_base_/studies/voc.py'
config = 'configs/acr/hybrid_lite0_voc.py'
baseline = 'none'
cells = [
    dict(label='none', options={'model.view': None}),
    dict(label='flip'),
    dict(
        label='flip + grey',
        options={
            'model.view': [
                dict(type='DihedralView', elements=('hflip',)),
                dict(type='GreyView'),
            ]
        },
    ),
    dict(
        label='flip + hiding',
        options={
            'model.view': [
                dict(type='DihedralView', elements=('hflip',)),
                dict(type='PatchHidingView', probability=0.3),
            ]
        },
    ),
    dict(
        label='flip + resize',
        options={
            'model.view': [
                dict(type='DihedralView', elements=('hflip',)),
                dict(type='ResizeView', factor=(0.5, 1.5)),
            ]
        },
    ),
    dict(
        label='resize',
        options={
            'model.view': dict(_delete_=True, type='ResizeView', factor=(0.5, 1.5))
        },
    ),
    dict(
        label='rotation',
        options={'model.view.elements': ('rot90', 'rot180', 'rot270')},
    ),
    dict(label='flip both ways', options={'model.view.elements': ('rot180',)}),
]
