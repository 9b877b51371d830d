# CAM, ACR and RCA on the same pre-trained network, data and budget.
title = 'CAM, ACR and RCA'
protocol = 'configs/_base_/studies/voc.py'
baseline = 'CAM'
cells = [
    dict(label='CAM', config='configs/cam/lite0_voc.py'),
    dict(label='ACR', config='configs/acr/hybrid_lite0_voc.py'),
    dict(label='RCA', config='configs/rca/lite0_voc.py'),
]
