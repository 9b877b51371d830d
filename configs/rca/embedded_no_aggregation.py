# Contrast alone (+RSC).
_base_ = 'embedded.py'
model = dict(aggregation=None)
custom_hooks = [
    dict(type='CountedRandomnessHook'),
    dict(type='RegionMemoryHook'),
    dict(type='MapAccumulationHook'),
]
