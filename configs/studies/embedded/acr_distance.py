# The same cells on the embedded data set.
_base_ = '../acr_distance.py'
protocol = 'configs/_base_/studies/embedded.py'
config = 'configs/acr/hybrid_embedded.py'
