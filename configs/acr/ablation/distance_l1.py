# Table 2, the default: L1 distance.
_base_ = '../vit_hybrid_voc.py'
model = dict(consistency=dict(distance='l1'))
