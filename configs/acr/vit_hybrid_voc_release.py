# The settings that the authors' release runs with: its optimizer takes the weight decay
# for the momentum, and the images are scaled with ImageNet's mean and deviation.
_base_ = 'vit_hybrid_voc.py'
max_epochs = 10
pad = dict(type='RandomPad', size=_base_.crop_size, pad_val=(104, 116, 124))
model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    consistency=dict(alpha=125.0, beta=125.0),
)
train_dataloader = dict(
    dataset=dict(pipeline=[*_base_.train_pipeline[:4], pad, *_base_.train_pipeline[5:]])
)
optim_wrapper = dict(optimizer=dict(lr=0.05, momentum=5e-4, weight_decay=0.0))
param_scheduler = [dict(_base_.param_scheduler[0], end=max_epochs)]
train_cfg = dict(max_epochs=max_epochs)
