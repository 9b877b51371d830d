# Table 2: squared L2 distance.
_base_ = '../vit_hybrid_voc.py'
model = dict(consistency=dict(distance='l2'))
