# acr_hybrid_lite0.py on features of the frozen stem that were computed beforehand:
# levels of stride 16 and 32 in one map of 18x18 tokens.
_base_ = './acr_hybrid_lite0.py'
model = dict(
    data_preprocessor=dict(mean=None, std=None, bgr_to_rgb=False, pad_size_divisor=1),
    backbone=dict(img_size=18, stem=dict(_delete_=True, cached=432)),
)
