# RCA: Nesterov SGD, weight decay 5e-4, learning rate 1e-3
# for the backbone's weights, twice that for its biases, 10 and 20 times that for new
# weights and biases; a tenth at epochs 5 and 10; 30 epochs of batch 8 in all.
max_epochs = 30
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=1e-2, momentum=0.9, nesterov=True, weight_decay=5e-4),
    # mmengine applies bias_lr_mult to no name that custom_keys match, and tries the
    # longest key first: conv.bias is how mmpretrain's VGG ends a bias.
    paramwise_cfg=dict(
        bias_lr_mult=2.0,
        custom_keys={'backbone': dict(lr_mult=0.1), 'conv.bias': dict(lr_mult=0.2)},
    ),
)
param_scheduler = [
    dict(
        type='MultiStepLR',
        milestones=[5, 10],
        gamma=0.1,
        begin=0,
        end=max_epochs,
        by_epoch=True,
    )
]
train_cfg = dict(type='ResumableEpochLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=8)
