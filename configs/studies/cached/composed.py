# One classifier of ACR and CAM or RCA, against each on the same features and budget.
title = 'Class maps spread along ACR attention'
protocol = 'configs/_base_/studies/voc_cached.py'
config = 'configs/composed/acr_cam_lite0_cached_voc.py'
baseline = 'CAM'
cells = [
    dict(label='CAM', config='configs/cam/lite0_cached_voc.py'),
    dict(label='ACR', config='configs/acr/hybrid_lite0_cached_voc.py'),
    dict(label='RCA', config='configs/rca/lite0_cached_voc.py'),
    dict(
        label='ACR + CAM',
        options={
            'model.acr.consistency.alpha': 100.0,
            'model.acr.consistency.beta': 100.0,
        },
    ),
    dict(label='ACR + CAM, no consistency'),
    dict(
        label='ACR + CAM, not spread',
        options={
            'model.acr.consistency.alpha': 100.0,
            'model.acr.consistency.beta': 100.0,
            'model.steps': 0,
        },
    ),
    dict(label='ACR + RCA', config='configs/composed/acr_rca_lite0_cached_voc.py'),
]
