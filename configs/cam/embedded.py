# CAM on the embedded data set, on RCA's backbone and head; its maps are accumulated
# (OAA) beside.
_base_ = [
    '../_base_/models/cam_embedded.py',
    '../_base_/datasets/synthetic_96.py',
    '../_base_/schedules/embedded_15e.py',
    '../_base_/accumulating_runtime.py',
]
