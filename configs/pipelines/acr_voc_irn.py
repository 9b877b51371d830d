# ACR on VOC 2012, its seeds refined by IRN with the published settings.
_base_ = ['./acr_voc.py', '../_base_/refinement/irn_labels.py']
refinement = dict(config='configs/refinement/irn_r50_voc.py', processes=4)
labels = dict(refiner=dict(_delete_=True, type='irn'))
