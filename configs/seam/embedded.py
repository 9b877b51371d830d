# SEAM on the embedded data set, on CAM's backbone and head: minutes on two CPU cores.
# The view is larger than the paper's 0.3, which would leave 4x4 cells of these images.
_base_ = [
    '../_base_/models/cam_embedded.py',
    '../_base_/datasets/synthetic_96.py',
    '../_base_/schedules/embedded_15e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='SEAMClassifier',
    backbone=dict(out_indices=(0, 1, 2)),
    correlation=dict(in_channels=(64, 64), channels=(16, 32)),
    scale=(0.5, 0.5),
)
