# lite0_tuned_voc.py, its maps spread along the similarity of the features (not a
# paper's): SimilaritySpread.
_base_ = './lite0_tuned_voc.py'
model = dict(similarity=dict(temperature=0.12, steps=4))
