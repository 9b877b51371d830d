# Studies on a frozen stem that sees each image: voc.py's splits and figures, minutes a
# run without a GPU.
_base_ = './voc.py'
budget = (
    '5 epochs of 1,464 photographs at 224 pixels, batch 16, bfloat16, the stem frozen'
)
