# RCA's settings with a trained last stage, to choose from by `train_mini`.
# Maps are not accumulated, which would take most of the time.
_base_ = '../rca_tuning.py'
title = 'RCA with a trained last stage: choice of settings'
protocol = 'configs/_base_/studies/voc_tuned.py'
config = 'configs/rca/lite0_tuned_voc.py'
cells = [
    dict(label='as it is'),
    dict(label='rate 1e-3', options={'optim_wrapper.optimizer.lr': 1e-3}),
    dict(label='rate 4e-3', options={'optim_wrapper.optimizer.lr': 4e-3}),
    dict(label='contrast x 0.1', options={'model.contrast.loss_weight': 0.001}),
    dict(label='contrast x 10', options={'model.contrast.loss_weight': 0.1}),
    dict(label='coarse x 2.5', options={'model.coarse_weight': 1.0}),
]
options = {
    'model.contrast.loss_weight': 0.01,
    'custom_hooks': [
        dict(type='CountedRandomnessHook'),
        dict(type='RegionMemoryHook'),
        dict(type='PrototypeRefreshHook', interval=1),
    ],
}
