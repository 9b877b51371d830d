# The same cells on a frozen stem, at 224 pixels.
_base_ = '../acr_views.py'
title = 'ACR on a frozen stem: the second view'
protocol = 'configs/_base_/studies/voc_frozen.py'
config = 'configs/acr/hybrid_lite0_frozen_voc.py'
