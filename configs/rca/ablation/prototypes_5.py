# 5 prototypes a class.
_base_ = '../vgg16_voc.py'
model = dict(aggregation=dict(num_prototypes=5))
