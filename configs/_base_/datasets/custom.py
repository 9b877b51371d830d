import pathlib

# Your own images with tags: change the next three lines, then
# python tools/check_dataset.py configs/custom/cam.py
data_root = 'data/mine'  # folder of the images, with any folders inside
tag_file = 'tags.csv'  # lines "path,tag;tag"; other forms: docs/own_data.md
classes = ('cat', 'dog')  # without the background; or a file, 'classes.txt'

# Folder of masks <path without suffix>.png, for measuring alone. Training reads none.
mask_folder = None
# A tenth of the images, chosen by their names, is held out,
val_share = 0.1
# unless lists say which images are for what: 'train.txt' and 'val.txt', a path a line.
train_list, val_list = None, None

train_part = dict(ann_file=train_list) if train_list else dict(part='train')
val_part = dict(ann_file=val_list) if val_list else dict(part='val')
if isinstance(classes, str) and pathlib.Path(data_root, classes).is_file():
    classes = pathlib.Path(data_root, classes).read_text('utf-8-sig').splitlines()
    classes = tuple(name.strip() for name in classes if name.strip())
crop_size = (224, 224)
pad_colour = (128, 128, 128)
tagged = dict(
    type='ImageTagDataset',
    data_root=data_root,
    tag_file=tag_file,
    classes=classes,
    val_share=val_share,
    data_prefix=dict(img_path=''),
)
if mask_folder:
    masked = dict(
        data_prefix=dict(img_path='', seg_map_path=mask_folder), without_mask='drop'
    )
    evaluators = [dict(type='SeedIoUMetric', split='held out')]
else:
    masked = dict()
    evaluators = []

train_pipeline = [
    dict(type='CountedRandomness'),
    dict(type='LoadImage'),
    dict(
        type='RandomResize', scale=crop_size, ratio_range=(0.9, 1.15), keep_ratio=True
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomPad', size=crop_size, pad_val=pad_colour),
    dict(type='mmseg.RandomCrop', crop_size=crop_size),
    dict(type='PackWSSSInputs'),
]
seed_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=crop_size, keep_ratio=False),
    dict(type='PackWSSSInputs'),
]
test_pipeline = [
    *seed_pipeline[:-1],
    *([dict(type='LoadMask')] if mask_folder else []),
    dict(type='PackWSSSInputs'),
]

train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='CountedSampler', shuffle=True),
    dataset=dict(**tagged, **train_part, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **{**tagged, **masked}, **val_part, pipeline=test_pipeline, test_mode=True
    ),
)
test_dataloader = val_dataloader
# Pseudo labels are made for what a segmentor may learn: not for what is held out.
seed_dataloader = dict(
    batch_size=1,
    num_workers=2,
    dataset=dict(**tagged, **train_part, pipeline=seed_pipeline, test_mode=True),
)
val_evaluator = [dict(type='mmpretrain.AveragePrecision'), *evaluators]
test_evaluator = val_evaluator
