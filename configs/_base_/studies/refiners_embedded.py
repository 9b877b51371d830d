# Refiners on the embedded data set (tools/analysis/refiner_table.py): one classifier a
# seed of the generator, and on its seeds each refiner's labels and a segmentor.
title = 'Refiners on the embedded data set'
data = dict(synthetic=dict(train=480, val=120, test=120))
classifier = dict(config='configs/acr/hybrid_embedded.py', options={})
segmentor = dict(config='configs/segmentation/deeplabv2_embedded.py', options={})
seeds = [0, 1, 2]
tuning_seed = 100
levels = [0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85]
presets = ['cam', 'irn', 'deeplabv2']
band = dict(type='threshold', background_threshold=0.4, foreground_threshold=0.7)
refiners = [
    dict(
        label='threshold',
        refiner=dict(type='threshold'),
        search=[dict(background_threshold=levels)],
    ),
    dict(
        label='PAMR',
        refiner=dict(type='pamr'),
        search=[dict(background_threshold=levels)],
    ),
    dict(
        label='CRF',
        refiner=dict(type='densecrf'),
        search=[
            dict(preset=presets, background_threshold=[0.4, 0.5, 0.6, 0.7, 0.8]),
            dict(preset=presets, alpha=[0.25, 0.5, 1.0, 2.0, 4.0]),
        ],
    ),
    dict(
        label='PSA',
        refiner=dict(type='psa'),
        refinement=dict(
            config='configs/refinement/psa_embedded.py', options={}, labels=band
        ),
        search=[dict(exponent=[16.0, 32.0], background_threshold=[0.5, 0.6, 0.7])],
    ),
    dict(
        label='IRN',
        refiner=dict(type='irn'),
        refinement=dict(
            config='configs/refinement/irn_embedded.py', options={}, labels=band
        ),
        search=[dict(exponent=[10.0], background_threshold=[0.4, 0.5, 0.6, 0.7])],
    ),
]
