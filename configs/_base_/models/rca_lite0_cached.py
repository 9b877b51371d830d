# rca_lite0.py on features of the frozen backbone that were computed beforehand.
_base_ = './rca_lite0.py'
model = dict(
    data_preprocessor=dict(mean=None, std=None, bgr_to_rgb=False, pad_size_divisor=1),
    backbone=dict(_delete_=True, type='CachedFeatures', channels=432),
    channels=432,
    head=dict(in_channels=432),
)
