# Refiners on the embedded data set (tools/analysis/refiner_table.py): one classifier a
# seed of the generator, and on its seeds each refiner's labels and a segmentor.
title = 'Refiners on the embedded data set'
synthetic = dict(train=480, val=120, test=120)
classifier = dict(config='configs/acr/hybrid_embedded.py')
segmentor = dict(config='configs/segmentation/deeplabv2_embedded.py')
seeds = [0, 1, 2]
tuning_seed = 100
levels = [0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65]
refiners = [
    dict(
        label='threshold',
        refiner=dict(type='threshold'),
        search=dict(background_threshold=levels),
    ),
    dict(
        label='PAMR',
        refiner=dict(type='pamr'),
        search=dict(background_threshold=levels),
    ),
    dict(
        label='CRF',
        refiner=dict(type='densecrf'),
        search=dict(
            preset=['cam', 'irn', 'deeplabv2'], background_threshold=levels[::2]
        ),
    ),
]
