# The same cells on the embedded data set.
_base_ = '../cam_tuning.py'
protocol = 'configs/_base_/studies/embedded.py'
config = 'configs/cam/embedded.py'
