# ACR on COCO-2014: 4 x 1 images, then 2 x 5.
data = dict(root='data/coco2014')
classifier = dict(config='configs/acr/vit_hybrid_coco.py', processes=4)
labels = dict(refiner='pamr')
segmentor = dict(
    config='configs/segmentation/deeplabv2_r101_coco_acr.py',
    options={'train_dataloader.batch_size': 5},
    processes=2,
)
