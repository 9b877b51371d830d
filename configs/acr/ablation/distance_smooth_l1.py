# Table 2: SmoothL1 distance.
_base_ = '../vit_hybrid_voc.py'
model = dict(consistency=dict(distance='smooth_l1'))
