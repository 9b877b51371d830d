# DeepLabV3+ as in mmseg: one learning rate of 0.01 for all weights, polynomial decay to
# 1e-4; 20k iterations of 10 images in all.
_base_ = 'deeplab_20k.py'
max_iters = 20000
optim_wrapper = dict(optimizer=dict(lr=0.01), paramwise_cfg=None)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=1e-4, begin=0, end=max_iters, by_epoch=False)
]
