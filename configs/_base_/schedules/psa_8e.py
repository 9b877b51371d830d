# PSA: SGD, lr 0.1 for the backbone, none for its first layers, 10 times that for new
# layers, weight decay 5e-4, polynomial decay, 8 epochs of batch 8 in all. No momentum:
# the release passes its weight decay in that place.
max_epochs = 8
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=1.0, weight_decay=5e-4),
    paramwise_cfg=dict(
        custom_keys={
            'backbone': dict(lr_mult=0.1),
            'backbone.conv1a': dict(lr_mult=0.0),
            'backbone.b2': dict(lr_mult=0.0),
        }
    ),
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
auto_scale_lr = dict(enable=False, base_batch_size=8)
