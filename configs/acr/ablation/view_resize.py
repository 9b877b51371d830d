# Table 1: resize. The range of the factor is ours.
_base_ = '../vit_hybrid_voc.py'
model = dict(view=dict(_delete_=True, type='ResizeView', factor=(0.5, 1.5)))
