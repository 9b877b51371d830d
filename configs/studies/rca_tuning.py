# RCA: settings to choose from by `train_mini`, as many as for the other methods.
title = 'RCA: choice of settings'
protocol = 'configs/_base_/studies/voc.py'
config = 'configs/rca/lite0_voc.py'
baseline = 'as it is'
cells = [
    dict(label='as it is'),
    dict(label='rate 2e-4', options={'optim_wrapper.optimizer.lr': 2e-4}),
    dict(label='rate 1e-3', options={'optim_wrapper.optimizer.lr': 1e-3}),
    dict(label='contrast x 0.1', options={'model.contrast.loss_weight': 0.001}),
    dict(label='contrast x 10', options={'model.contrast.loss_weight': 0.1}),
    dict(label='convolution', options={'model.head.num_convs': 1}),
]
