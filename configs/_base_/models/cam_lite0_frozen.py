# A linear CAM on EfficientNet-Lite0 as it is: levels of stride 16 and 32 in one map of
# stride 16, no weight of the network trained.
_base_ = './cam_lite0.py'
model = dict(
    backbone=dict(output_stride=None, out_indices=(3, 4), stacked=True, frozen=('',)),
    head=dict(in_channels=432),
)
