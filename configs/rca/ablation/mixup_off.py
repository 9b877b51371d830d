# Regions are contrasted unmixed.
_base_ = '../vgg16_voc.py'
model = dict(contrast=dict(mixup=False))
