# Refiners on photographs (tools/analysis/refiner_table.py): classifiers and segmentors
# on cached features, settings of `train_mini`, labels of `train_rest` measured.
title = 'Refiners on photographs'
data = dict(root='data/VOCdevkit/VOC2012')
classifier = dict(config='configs/composed/acr_cam_lite0_cached_voc.py')
segmentor = dict(config='configs/segmentation/deeplabv2_lite0_cached_voc.py')
seeds = [0, 1, 2]
tuning_seed = 0
splits = dict(
    tuning='ImageSets/Segmentation/train_mini.txt',
    table='ImageSets/Segmentation/train_rest.txt',
)
levels = [0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8]
band = dict(type='threshold', background_threshold=0.4, foreground_threshold=0.7)
# the stem as it is, in bfloat16: minutes a network without a GPU
frozen = {
    'model.backbone.frozen': ('',),
    'model.backbone.output_stride': 16,
    'optim_wrapper.type': 'Bf16OptimWrapper',
}
refiners = [
    dict(
        label='threshold',
        refiner=dict(type='threshold'),
        search=[dict(background_threshold=levels)],
    ),
    dict(
        label='PAMR',
        refiner=dict(type='pamr'),
        search=[dict(background_threshold=[0.4, 0.5, 0.6, 0.7])],
    ),
    dict(
        label='CRF',
        refiner=dict(type='densecrf'),
        search=[
            dict(preset=['cam', 'irn'], background_threshold=[0.4, 0.5, 0.6]),
            dict(preset=['cam'], alpha=[1.0, 2.0, 4.0]),
        ],
    ),
    dict(
        label='PSA',
        refiner=dict(type='psa'),
        refinement=dict(
            config='configs/refinement/psa_lite0_voc.py',
            options={**frozen, 'model.stride': 16},
            labels=band,
        ),
        search=[dict(exponent=[8.0, 16.0], background_threshold=[0.5, 0.6, 0.7])],
    ),
    dict(
        label='IRN',
        refiner=dict(type='irn'),
        refinement=dict(
            config='configs/refinement/irn_lite0_voc.py', options=frozen, labels=band
        ),
        search=[dict(exponent=[10.0], background_threshold=[0.4, 0.5, 0.6])],
    ),
]
