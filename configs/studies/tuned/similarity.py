# CAM with a trained last stage, its maps of one scale, of four, and spread along the
# similarity of their features.
title = 'CAM with a trained last stage: scales and similarity'
protocol = 'configs/_base_/studies/voc_tuned.py'
config = 'configs/cam/lite0_tuned_voc.py'
baseline = 'four scales'
cells = [
    dict(label='one scale', options={'model.localization.scales': (1.0,)}),
    dict(label='four scales'),
    dict(
        label='four scales, similarity',
        config='configs/cam/lite0_tuned_similarity_voc.py',
    ),
]
