# ACR on COCO-2014, its seeds refined by PSA with the published settings.
_base_ = ['./acr_coco.py', '../_base_/refinement/psa_labels.py']
refinement = dict(config='configs/refinement/psa_resnet38_coco.py', processes=4)
labels = dict(refiner=dict(_delete_=True, type='psa'))
