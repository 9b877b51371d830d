# Table 1: horizontal flip and grey.
_base_ = '../vit_hybrid_voc.py'
model = dict(
    view=[
        dict(type='DihedralView', elements=('hflip',)),
        dict(type='GreyView'),
    ]
)
