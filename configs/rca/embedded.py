# RCA on the embedded data set: a few minutes on two CPU cores.
_base_ = [
    '../_base_/models/rca_embedded.py',
    '../_base_/datasets/synthetic_96.py',
    '../_base_/schedules/embedded_15e.py',
    '../_base_/rca_runtime.py',
]
