# acr_hybrid_lite0.py on EfficientNet-Lite0 as it is: levels of stride 16 and 32 in one
# map of stride 16, no weight of the stem trained.
_base_ = './acr_hybrid_lite0.py'
model = dict(
    backbone=dict(stem=dict(out_index=(3, 4), args=dict(_delete_=True), frozen=('',))),
)
