# RCA on the embedded data set, its seeds refined by IRN.
_base_ = ['./rca_embedded.py', '../_base_/refinement/band_labels.py']
refinement = dict(config='configs/refinement/irn_embedded.py')
labels = dict(refiner=dict(_delete_=True, type='irn'))
