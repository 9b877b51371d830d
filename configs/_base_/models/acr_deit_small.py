# DeiT-S, weights and input scaling of timm's deit_small_patch16_224.
_base_ = 'acr_vit_hybrid.py'
model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(arch='deit_small_patch16_224', img_size=224),
)
