# Weight of the coarse head's classification.
_base_ = '../vgg16_voc.py'
model = dict(coarse_weight=1.0)
