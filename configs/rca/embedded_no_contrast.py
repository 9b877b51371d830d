# Aggregation alone (+RSA).
_base_ = 'embedded.py'
model = dict(contrast=None)
