# Contrast alone (+RSC).
_base_ = '../vgg16_voc.py'
model = dict(aggregation=None)
custom_hooks = [
    dict(type='CountedRandomnessHook'),
    dict(type='RegionMemoryHook'),
    dict(type='MapAccumulationHook'),
]
