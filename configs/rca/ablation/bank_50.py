# A bank of 50 slots a class.
_base_ = '../vgg16_voc.py'
model = dict(memory=dict(num_slots=50))
