# Studies on cached features: voc.py's splits and figures, minutes a run without a GPU.
_base_ = './voc.py'
budget = (
    '5 epochs of cached features of 1,464 photographs at 288 pixels, batch 16, bfloat16'
)
