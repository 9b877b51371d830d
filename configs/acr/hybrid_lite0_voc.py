# ACR on a small hybrid and 1,464 photographs, minutes on a GPU. The warm start is on
# for the first 60% of the training; consistency comes in from half-way.
_base_ = [
    '../_base_/models/acr_hybrid_lite0.py',
    '../_base_/datasets/voc_train_288.py',
    '../_base_/schedules/lite0_8e.py',
    '../_base_/default_runtime.py',
]
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'patch_embed.backbone': dict(lr_mult=0.2)})
)
