# hybrid_lite0_cached_voc.py, its maps of gradients times attention: the kind that is
# best on `train_mini` (docs/studies).
_base_ = './hybrid_lite0_cached_voc.py'
model = dict(localization=dict(kind='cam_grad'))
