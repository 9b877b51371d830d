# SEAM on EfficientNet-Lite0 and 1,464 photographs, minutes on a GPU. The view is larger
# than the paper's 0.3, which would leave 6x6 cells of these images.
_base_ = [
    '../_base_/models/cam_lite0.py',
    '../_base_/datasets/voc_train_288.py',
    '../_base_/schedules/lite0_8e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='SEAMClassifier',
    backbone=dict(out_indices=(2, 3, 4)),
    correlation=dict(in_channels=(40, 112), channels=(64, 128)),
    scale=(0.5, 0.5),
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.2)}))
