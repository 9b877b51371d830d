# Temperature (tau) of the contrast.
_base_ = '../vgg16_voc.py'
model = dict(contrast=dict(temperature=0.05))
