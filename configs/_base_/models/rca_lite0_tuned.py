# rca_lite0.py on levels of stride 16 and 32 in one map of stride 16; of the network the
# last stage alone is trained.
_base_ = './rca_lite0.py'
stages = [f'blocks.{stage}' for stage in range(6)]
model = dict(
    backbone=dict(
        output_stride=None,
        out_indices=(3, 4),
        stacked=True,
        frozen=('conv_stem', 'bn1', *stages),
        norm_eval=True,
    ),
    channels=432,
    head=dict(in_channels=432),
)
