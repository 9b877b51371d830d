# Score (nu) from which a region enters the bank.
_base_ = '../vgg16_voc.py'
model = dict(memory=dict(score_gate=0.9))
