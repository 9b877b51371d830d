# CAM: settings to choose from by `train_mini`, as many as for the other methods.
title = 'CAM: choice of settings'
protocol = 'configs/_base_/studies/voc.py'
config = 'configs/cam/lite0_voc.py'
baseline = 'as it is'
cells = [
    dict(label='as it is'),
    dict(label='rate 2e-4', options={'optim_wrapper.optimizer.lr': 2e-4}),
    dict(label='rate 1e-3', options={'optim_wrapper.optimizer.lr': 1e-3}),
    dict(label='rate 2e-3', options={'optim_wrapper.optimizer.lr': 2e-3}),
    dict(label='convolution', options={'model.head.num_convs': 1}),
    dict(label='two scales', options={'model.localization': dict(scales=(1.0, 1.5))}),
]
