# voc_train_288.py at 224 pixels.
_base_ = './voc_aug_224.py'

splits = 'ImageSets/Segmentation'

train_lists = dict(ann_file=f'{splits}/train.txt', tag_file=f'{splits}/train_tags.txt')
train_dataloader = dict(batch_size=16, num_workers=2, dataset=train_lists)
test_dataloader = dict(batch_size=16, num_workers=2, persistent_workers=False)
seed_dataloader = dict(num_workers=2, dataset=train_lists)
