# ACR on the embedded data set, its seeds refined by PSA.
_base_ = ['./acr_embedded.py', '../_base_/refinement/band_labels.py']
refinement = dict(config='configs/refinement/psa_embedded.py')
labels = dict(refiner=dict(_delete_=True, type='psa'))
