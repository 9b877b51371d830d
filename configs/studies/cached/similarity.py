# Beyond the papers: maps of CAM and RCA spread along the similarity of their features,
# without a transformer.
title = 'Class maps spread along the similarity of features'
protocol = 'configs/_base_/studies/voc_cached.py'
baseline = 'CAM'
cells = [
    dict(label='CAM', config='configs/cam/lite0_cached_voc.py'),
    dict(label='CAM, similarity', config='configs/cam/lite0_cached_similarity_voc.py'),
    dict(label='RCA', config='configs/rca/lite0_cached_voc.py'),
    dict(
        label='RCA, similarity',
        config='configs/rca/lite0_cached_voc.py',
        options={'model.similarity': dict(temperature=0.15, steps=4)},
    ),
]
