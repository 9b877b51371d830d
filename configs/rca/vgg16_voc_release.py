# What the authors' release does otherwise than the paper, all of it: separate heads, a
# bank of raw features beside projected queries, started from noise and never replaced,
# partners of any class, contrast summed over images, aggregation without softmax.
_base_ = 'vgg16_voc.py'
model = dict(
    head=dict(separate=True),
    coarse_head=dict(type='CAMHead', channels=512, num_convs=3),
    memory=dict(init='normal', valid_only=False),
    contrast=dict(same_class=True, reduction='sum'),
    aggregation=dict(type='ReleasedAggregator'),
    space='split',
    region_scores='softmax',
)
