# ACR: settings to choose from by `train_mini`, as many as for the other methods.
title = 'ACR: choice of settings'
protocol = 'configs/_base_/studies/voc.py'
config = 'configs/acr/hybrid_lite0_voc.py'
baseline = 'as it is'
cells = [
    dict(label='as it is'),
    dict(label='rate 2e-4', options={'optim_wrapper.optimizer.lr': 2e-4}),
    dict(label='rate 1e-3', options={'optim_wrapper.optimizer.lr': 1e-3}),
    dict(label='warm start x 0.3', options={'model.warm_start.loss_weight': 0.3}),
    dict(
        label='weights 30',
        options={'model.consistency.alpha': 30.0, 'model.consistency.beta': 30.0},
    ),
    dict(
        label='weights 300',
        options={'model.consistency.alpha': 300.0, 'model.consistency.beta': 300.0},
    ),
]
