# Mixing weights stay near one half (Beta(16, 16)).
_base_ = '../vgg16_voc.py'
model = dict(contrast=dict(beta=16.0))
