# Table 1, row 1: one view, no consistency.
_base_ = '../vit_hybrid_voc.py'
model = dict(view=None)
