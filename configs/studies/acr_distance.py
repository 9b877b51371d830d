# ACR, table 2 of its supplement: the distance between both views' attention.
title = 'ACR: the distance'
protocol = 'configs/_base_/studies/voc.py'
config = 'configs/acr/hybrid_lite0_voc.py'
baseline = 'L1'
cells = [
    dict(label='L1'),
    dict(label='L2', options={'model.consistency.distance': 'l2'}),
    dict(label='smooth L1', options={'model.consistency.distance': 'smooth_l1'}),
]
