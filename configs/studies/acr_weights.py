# ACR: activation and affinity consistency, each alone and together, against two views
# that are trained without either.
title = 'ACR: activation and affinity consistency'
protocol = 'configs/_base_/studies/voc.py'
config = 'configs/acr/hybrid_lite0_voc.py'
baseline = 'neither'
cells = [
    dict(
        label='neither',
        options={'model.consistency.alpha': 0.0, 'model.consistency.beta': 0.0},
    ),
    dict(label='activation', options={'model.consistency.beta': 0.0}),
    dict(label='affinity', options={'model.consistency.alpha': 0.0}),
    dict(label='both'),
    dict(
        label='both, weights of 10',
        options={'model.consistency.alpha': 10.0, 'model.consistency.beta': 10.0},
    ),
    dict(label='both, no warm start', options={'model.warm_start': None}),
]
