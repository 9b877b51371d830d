# COCO-2014, image tags of 80 classes, RCA's augmentation at 368x368. Seeds are measured
# (test) on the training images with masks.
_base_ = 'voc_aug_368.py'
dataset = dict(type='COCOTagDataset', data_root='data/coco2014')
train_images = dict(
    ann_file='lists/train.txt',
    data_prefix=dict(img_path='train2014'),
)
train_tags = dict(tag_file='lists/train_tags.txt')
train_masks = dict(
    ann_file='lists/train.txt',
    data_prefix=dict(img_path='train2014', seg_map_path='masks/train2014'),
)
val_masks = dict(
    ann_file='lists/val.txt',
    data_prefix=dict(img_path='val2014', seg_map_path='masks/val2014'),
)
train_dataloader = dict(dataset=dict(**dataset, **train_images, **train_tags))
seed_dataloader = dict(dataset=dict(**dataset, **train_images, **train_tags))
val_dataloader = dict(dataset=dict(**dataset, **val_masks))
test_dataloader = dict(dataset=dict(**dataset, **train_masks))
val_evaluator = [
    dict(type='SeedIoUMetric', split='COCO-2014 val'),
    dict(type='mmpretrain.AveragePrecision'),
]
test_evaluator = [
    dict(type='SeedIoUMetric', split='COCO-2014 train'),
    dict(type='mmpretrain.AveragePrecision'),
]
