# DeepLabV2 on COCO's images: 100k iterations, as usual for COCO-Stuff, else as for VOC.
_base_ = 'deeplab_20k.py'
max_iters = 100000
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=max_iters, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=20000)
