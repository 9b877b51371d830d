# The chain on a few VOC photographs with small networks from scratch, minutes on a CPU:
# to see that an installation works on real data, not what ACR reaches. The first 40
# images of `train` have every class among them.
data = dict(root='data/VOCdevkit/VOC2012')
classifier = dict(
    config='configs/acr/small_hybrid_voc.py',
    options=dict(
        train_dataloader=dict(
            batch_size=8,
            num_workers=1,
            dataset=dict(ann_file='ImageSets/Segmentation/train.txt', indices=40),
        ),
        seed_dataloader=dict(
            num_workers=1,
            dataset=dict(ann_file='ImageSets/Segmentation/train.txt', indices=40),
        ),
        val_dataloader=dict(num_workers=1, dataset=dict(indices=8)),
        test_dataloader=dict(num_workers=1, dataset=dict(indices=8)),
        train_cfg=dict(max_epochs=2),
    ),
)
labels = dict(refiner='pamr')
segmentor = dict(
    config='configs/segmentation/deeplabv2_r101_voc_acr.py',
    options={
        'model.backbone.depth': 18,
        'model.backbone.norm_cfg.requires_grad': True,
        'model.backbone.norm_eval': False,
        'model.backbone.init_cfg': None,
        'model.decode_head.in_channels': 512,
        'train_dataloader.batch_size': 4,
        'train_dataloader.num_workers': 1,
        'test_dataloader.dataset.indices': 8,
        'test_dataloader.num_workers': 1,
        'train_cfg.max_iters': 8,
        'default_hooks.checkpoint.interval': 4,
    },
)
