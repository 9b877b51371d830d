# ACR on VOC 2012 with labels by a dense CRF; RCA's recipe, whose background is
# (1 - largest map) ** 4.
_base_ = './acr_voc.py'
labels = dict(refiner=dict(_delete_=True, type='densecrf', preset='cam', alpha=4.0))
