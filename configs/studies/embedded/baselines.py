# CAM, ACR and RCA on the embedded data set.
title = 'CAM, ACR and RCA'
protocol = 'configs/_base_/studies/embedded.py'
baseline = 'CAM'
cells = [
    dict(label='CAM', config='configs/cam/embedded.py'),
    dict(label='ACR', config='configs/acr/hybrid_embedded.py'),
    dict(label='RCA', config='configs/rca/embedded.py'),
]
