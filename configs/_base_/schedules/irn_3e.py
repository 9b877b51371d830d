# IRN: SGD, lr 0.1, ten times that for displacements, weight decay 1e-4, polynomial
# decay, 3 epochs of batch 32 in all. No momentum: the paper names none, and the release
# passes its weight decay in that place.
max_epochs = 3
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'displacement_branch': dict(lr_mult=10.0)}),
)
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
train_cfg = dict(type='ResumableEpochLoop', max_epochs=max_epochs)
auto_scale_lr = dict(enable=False, base_batch_size=32)
