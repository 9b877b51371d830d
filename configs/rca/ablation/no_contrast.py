# Aggregation alone (+RSA).
_base_ = '../vgg16_voc.py'
model = dict(contrast=None)
