# ACR's schedule for COCO-2014: 5 epochs, else as for VOC.
_base_ = 'acr_15e.py'
max_epochs = 5
param_scheduler = [
    dict(
        type='PolyLR',
        power=0.9,
        eta_min=0.0,
        begin=0,
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
train_cfg = dict(max_epochs=max_epochs)
