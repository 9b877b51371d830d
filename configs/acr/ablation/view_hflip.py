# Table 1, last row, the default: horizontal flip.
_base_ = '../vit_hybrid_voc.py'
model = dict(view=dict(type='DihedralView', elements=('hflip',)))
