# The same cells with a trained last stage.
# Maps are not accumulated, which would take most of the time.
_base_ = '../rca_memory.py'
title = 'RCA with a trained last stage: memory bank, prototypes and mixup'
protocol = 'configs/_base_/studies/voc_tuned.py'
config = 'configs/rca/lite0_tuned_voc.py'
options = {
    'custom_hooks': [
        dict(type='CountedRandomnessHook'),
        dict(type='RegionMemoryHook'),
        dict(type='PrototypeRefreshHook', interval=1),
    ]
}
