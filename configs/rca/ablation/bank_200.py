# A bank of 200 slots a class.
_base_ = '../vgg16_voc.py'
model = dict(memory=dict(num_slots=200))
