# Table 1: rotation. Uniform over the three turns is our choice.
_base_ = '../vit_hybrid_voc.py'
model = dict(view=dict(elements=('rot90', 'rot180', 'rot270')))
