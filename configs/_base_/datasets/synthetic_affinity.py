# The embedded data set at 96 pixels: affinity learned from labels with undecided
# pixels.
# Other places: --cfg-options train_dataloader.dataset.data_root=DIR
# and train_dataloader.dataset.label_root=DIR
_base_ = './synthetic_pseudo.py'
label_root = 'work_dirs/affinity_labels/embedded'
train_pipeline = [
    dict(type='CountedRandomness'),
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='RandomFlip', prob=[0.25, 0.25], direction=['horizontal', 'vertical']),
    dict(type='RandomPad', size=_base_.crop_size, pad_val=(128, 128, 128)),
    dict(type='mmseg.RandomCrop', crop_size=_base_.crop_size),
    dict(type='PackWSSSInputs'),
]
train_dataloader = dict(
    sampler=dict(type='CountedSampler'),
    dataset=dict(label_root=label_root, pipeline=train_pipeline),
)
test_pipeline = None
test_dataloader = None
test_evaluator = None
