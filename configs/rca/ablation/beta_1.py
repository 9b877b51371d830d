# Mixing weights are uniform (Beta(1, 1)).
_base_ = '../vgg16_voc.py'
model = dict(contrast=dict(beta=1.0))
