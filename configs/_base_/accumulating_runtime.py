# Localization maps are accumulated over the epochs (OAA).
_base_ = 'default_runtime.py'
custom_hooks = [
    dict(type='CountedRandomnessHook'),
    dict(type='MapAccumulationHook'),
]
