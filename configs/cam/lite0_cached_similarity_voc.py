# lite0_cached_voc.py, its maps spread along the similarity of the features (not a
# paper's): SimilaritySpread.
_base_ = './lite0_cached_voc.py'
model = dict(similarity=dict(temperature=0.15, steps=4))
