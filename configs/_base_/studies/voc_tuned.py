# Studies that train the last stage of the network: voc.py's splits and figures, minutes
# a run without a GPU. Maps are of one scale.
_base_ = './voc.py'
budget = (
    '5 epochs of 1,464 photographs at 288 pixels, batch 16, bfloat16, the last stage '
    'trained'
)
