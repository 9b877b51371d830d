# Table 1: horizontal flip and hiding. The probability is ours.
_base_ = '../vit_hybrid_voc.py'
model = dict(
    view=[
        dict(type='DihedralView', elements=('hflip',)),
        dict(type='PatchHidingView', probability=0.3),
    ]
)
