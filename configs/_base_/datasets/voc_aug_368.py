# PASCAL VOC 2012, image tags, RCA's augmentation: squashed to 368x368, colours changed.
_base_ = 'voc_aug_384.py'
input_size = (368, 368)
train_pipeline = [
    dict(type='CountedRandomness'),
    dict(type='LoadImage'),
    dict(type='Resize', scale=input_size, keep_ratio=False),
    dict(
        type='mmpretrain.ColorJitter',
        brightness=0.3,
        contrast=0.3,
        saturation=0.3,
        hue=0.1,
        backend='cv2',
    ),
    dict(type='PackWSSSInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=input_size, keep_ratio=False),
    dict(type='LoadMask'),
    dict(type='TagsFromMask'),
    dict(type='PackWSSSInputs'),
]
seed_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=input_size, keep_ratio=False),
    dict(type='PackWSSSInputs'),
]
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
seed_dataloader = dict(dataset=dict(pipeline=seed_pipeline))
