# RCA on VOC 2012 with its published labels: a dense CRF over the maps and the
# background (1 - largest map) ** 4.
_base_ = './rca_voc.py'
labels = dict(refiner=dict(_delete_=True, type='densecrf', preset='cam', alpha=4.0))
