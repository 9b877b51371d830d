# PASCAL VOC 2012: affinity learned from labels with undecided pixels, crops of 448.
# Other places: --cfg-options train_dataloader.dataset.data_root=DIR
# and train_dataloader.dataset.label_root=DIR
# 8 images a step in all: 4 processes x 2 images.
data_root = 'data/VOCdevkit/VOC2012'
label_root = 'work_dirs/affinity_labels/voc'
crop_size = (448, 448)
pad_colour = (104, 116, 124)

train_pipeline = [
    dict(type='CountedRandomness'),
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='mmpretrain.ColorJitter',
        brightness=0.3,
        contrast=0.3,
        saturation=0.3,
        hue=0.1,
        backend='cv2',
    ),
    dict(type='RandomPad', size=crop_size, pad_val=pad_colour),
    dict(type='mmseg.RandomCrop', crop_size=crop_size),
    dict(type='PackWSSSInputs'),
]
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='CountedSampler', shuffle=True),
    dataset=dict(
        type='VOCPseudoLabelDataset',
        data_root=data_root,
        label_root=label_root,
        data_prefix=dict(img_path='JPEGImages'),
        pipeline=train_pipeline,
    ),
)
