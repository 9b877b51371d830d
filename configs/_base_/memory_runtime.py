# The clocks of RCA but the accumulation of maps: bank and prototypes.
_base_ = 'default_runtime.py'
custom_hooks = [
    dict(type='CountedRandomnessHook'),
    dict(type='RegionMemoryHook'),
    dict(type='PrototypeRefreshHook', interval=1),
]
