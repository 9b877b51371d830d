# RCA on COCO-2014, its seeds refined by IRN with the published settings.
_base_ = ['./rca_coco.py', '../_base_/refinement/irn_labels.py']
refinement = dict(config='configs/refinement/irn_r50_coco.py', processes=4)
labels = dict(refiner=dict(_delete_=True, type='irn'))
