# What the studies on VOC 2012 share. Runs train on the 1,464 photographs of `train`.
# Settings are chosen on `train_mini`; tables are quoted on `train_rest`, the others
# (tools/dataset_converters/voc_tags.py DATA --split train --less train_mini --name
# train_rest). `val` is not looked at.
budget = '8 epochs of 1,464 photographs at 288 pixels, batch 16'
seeds = [0, 1, 2]
figures = [
    'seed/mIoU_best',
    'seed/mIoU_fixed',
    'seed/mIoU_gt_free',
    'seed/mFP_best',
    'seed/mFN_best',
    'multi-label/mAP',
]
threshold_from = 'train_mini'
splits = {
    split: {
        'test_dataloader.dataset.ann_file': f'ImageSets/Segmentation/{split}.txt',
        'test_evaluator.0.split': f'VOC 2012 {split}',
    }
    for split in ('train_mini', 'train_rest')
}
options = {
    'val_dataloader': None,
    'val_evaluator': None,
    'val_cfg': None,
    'model.seg_logits': False,
    'env_cfg.cudnn_benchmark': True,
    'default_hooks.checkpoint.interval': 4,
    'default_hooks.checkpoint.max_keep_ckpts': 1,
}
