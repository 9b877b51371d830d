# Momentum (gamma) of the bank.
_base_ = '../vgg16_voc.py'
model = dict(memory=dict(momentum=0.9))
