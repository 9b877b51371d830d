# Few epochs for parts on frozen features, in bfloat16, which a CPU multiplies fast too.
_base_ = './lite0_8e.py'
max_epochs = 5
optim_wrapper = dict(type='Bf16OptimWrapper')
param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        begin=0,
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
