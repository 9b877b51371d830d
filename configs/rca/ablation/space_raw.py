# Regions live in the backbone's features (the paper's text).
_base_ = '../vgg16_voc.py'
model = dict(space='raw')
