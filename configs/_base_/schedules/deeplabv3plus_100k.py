# DeepLabV3+ on COCO's images: 100k iterations, else as for VOC.
_base_ = 'deeplabv3plus_20k.py'
max_iters = 100000
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=1e-4, begin=0, end=max_iters, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=20000)
