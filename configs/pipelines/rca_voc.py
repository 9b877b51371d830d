# RCA on VOC 2012 with the paper's settings: 4 x 2 images, then 2 x 5.
data = dict(root='data/VOCdevkit/VOC2012')
classifier = dict(config='configs/rca/vgg16_voc.py', processes=4)
seeds = dict(accumulated=True)
labels = dict(refiner='pamr')
segmentor = dict(
    config='configs/segmentation/deeplabv2_r101_voc_rca.py',
    options={'train_dataloader.batch_size': 5},
    processes=2,
)
