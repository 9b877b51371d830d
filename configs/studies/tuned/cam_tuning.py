# CAM's settings with a trained last stage, to choose from by `train_mini`.
_base_ = '../cam_tuning.py'
title = 'CAM with a trained last stage: choice of settings'
protocol = 'configs/_base_/studies/voc_tuned.py'
config = 'configs/cam/lite0_tuned_voc.py'
cells = [
    dict(label='as it is'),
    dict(label='rate 1e-3', options={'optim_wrapper.optimizer.lr': 1e-3}),
    dict(label='rate 4e-3', options={'optim_wrapper.optimizer.lr': 4e-3}),
    dict(label='convolution', options={'model.head.num_convs': 1}),
    dict(
        label='stage at 0.1 of the rate',
        options={'optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult': 0.1},
    ),
    dict(
        label='stage at 0.5 of the rate',
        options={'optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult': 0.5},
    ),
]
options = {'model.localization.scales': (1.0,)}
