# RCA on the embedded data set, from generated images to a tested segmentor.
data = dict(synthetic=dict(seed=0))
classifier = dict(config='configs/rca/embedded.py')
seeds = dict(accumulated=True)
labels = dict(refiner='pamr')
segmentor = dict(config='configs/segmentation/deeplabv2_embedded.py')
