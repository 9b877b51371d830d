# ACR on a frozen stem: activation and affinity consistency alone and together, three
# distances, and what gives attention something to be consistent about.
title = 'ACR on cached features: consistency, distance, and informative attention'
protocol = 'configs/_base_/studies/voc_cached.py'
config = 'configs/acr/hybrid_lite0_cached_voc.py'
baseline = 'neither'
cells = [
    dict(
        label='neither',
        options={'model.consistency.alpha': 0.0, 'model.consistency.beta': 0.0},
    ),
    dict(label='both'),
    dict(label='activation', options={'model.consistency.beta': 0.0}),
    dict(label='affinity', options={'model.consistency.alpha': 0.0}),
    dict(label='both, L2', options={'model.consistency.distance': 'l2'}),
    dict(label='both, smooth L1', options={'model.consistency.distance': 'smooth_l1'}),
    dict(
        label='neither, no warm start',
        options={
            'model.consistency.alpha': 0.0,
            'model.consistency.beta': 0.0,
            'model.warm_start': None,
        },
    ),
    dict(label='both, no warm start', options={'model.warm_start': None}),
    dict(
        label='neither, similar queries',
        options={
            'model.consistency.alpha': 0.0,
            'model.consistency.beta': 0.0,
            'model.warm_start': None,
            'model.backbone.similarity_init': 0.3,
        },
    ),
    dict(
        label='both, similar queries',
        options={'model.warm_start': None, 'model.backbone.similarity_init': 0.3},
    ),
]
