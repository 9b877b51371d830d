# cam_lite0_frozen.py on features that were computed beforehand.
_base_ = './cam_lite0_frozen.py'
model = dict(
    data_preprocessor=dict(mean=None, std=None, bgr_to_rgb=False, pad_size_divisor=1),
    backbone=dict(_delete_=True, type='CachedFeatures', channels=432),
)
