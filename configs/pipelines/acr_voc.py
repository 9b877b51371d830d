# ACR on VOC 2012 with the papers' settings: 4 x 1 images, then 2 x 5.
data = dict(root='data/VOCdevkit/VOC2012')
classifier = dict(config='configs/acr/vit_hybrid_voc.py', processes=4)
labels = dict(refiner='pamr')
segmentor = dict(
    config='configs/segmentation/deeplabv2_r101_voc_acr.py',
    options={'train_dataloader.batch_size': 5},
    processes=2,
)
