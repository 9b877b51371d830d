# Weight (lambda) of the contrast.
_base_ = '../vgg16_voc.py'
model = dict(contrast=dict(loss_weight=0.1))
