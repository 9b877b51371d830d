# What the studies on the embedded data set share (tools/dataset_converters/synthetic.py
# data/synthetic makes it). Minutes a run on two CPU cores.
budget = '15 epochs of 480 generated images at 96 pixels, batch 16'
seeds = [0, 1, 2]
figures = ['seed/mIoU_best', 'seed/mFP_best', 'seed/mFN_best', 'multi-label/mAP']
options = {
    'val_dataloader': None,
    'val_evaluator': None,
    'val_cfg': None,
    'default_hooks.checkpoint.interval': 5,
    'default_hooks.checkpoint.max_keep_ckpts': 1,
}
