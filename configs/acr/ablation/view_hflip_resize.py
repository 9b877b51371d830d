# Table 1: horizontal flip and resize. The range of the factor is ours.
_base_ = '../vit_hybrid_voc.py'
model = dict(
    view=[
        dict(type='DihedralView', elements=('hflip',)),
        dict(type='ResizeView', factor=(0.5, 1.5)),
    ]
)
