# The same cells on cached features.
_base_ = '../acr_maps.py'
title = 'ACR on cached features: map kinds, first block and affinity'
protocol = 'configs/_base_/studies/voc_cached.py'
config = 'configs/acr/hybrid_lite0_cached_voc.py'
