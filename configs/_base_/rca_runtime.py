# The clocks of RCA: bank, prototypes, accumulated maps.
_base_ = 'default_runtime.py'
custom_hooks = [
    dict(type='CountedRandomnessHook'),
    dict(type='RegionMemoryHook'),
    dict(type='PrototypeRefreshHook', interval=1),
    dict(type='MapAccumulationHook'),
]
