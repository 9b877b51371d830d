# Both heads without contrast and aggregation (OAA++).
_base_ = '../vgg16_voc.py'
model = dict(memory=None, contrast=None, aggregation=None)
custom_hooks = [
    dict(type='CountedRandomnessHook'),
    dict(type='MapAccumulationHook'),
]
