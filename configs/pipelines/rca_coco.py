# RCA with VGG16 on COCO-2014: 4 x 2 images, then 2 x 5.
data = dict(root='data/coco2014')
classifier = dict(config='configs/rca/vgg16_coco.py', processes=4)
seeds = dict(accumulated=True)
labels = dict(refiner='pamr')
segmentor = dict(
    config='configs/segmentation/deeplabv2_r101_coco_rca.py',
    options={'train_dataloader.batch_size': 5},
    processes=2,
)
