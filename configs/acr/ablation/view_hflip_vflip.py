# Table 1: horizontal and vertical flip. Both at once, our reading, are a half turn.
_base_ = '../vit_hybrid_voc.py'
model = dict(view=dict(elements=('rot180',)))
