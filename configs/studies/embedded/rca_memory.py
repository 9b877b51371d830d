# The same cells on the embedded data set.
_base_ = '../rca_memory.py'
protocol = 'configs/_base_/studies/embedded.py'
config = 'configs/rca/embedded.py'
