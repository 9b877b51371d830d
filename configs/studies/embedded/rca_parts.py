# RCA's parts one by one on the embedded data set, with CAM. Settings were chosen on the
# images of another generator seed (--seed 100).
_base_ = '../rca_parts.py'
protocol = 'configs/_base_/studies/embedded.py'
figures = [
    'seed/mIoU_best',
    'seed/mPrecision_best',
    'seed/mRecall_best',
    'multi-label/mAP',
]
baseline = 'CAM'
cells = [
    dict(label='CAM', config='configs/cam/embedded.py'),
    dict(label='OAA++', config='configs/rca/embedded_oaa.py'),
    dict(label='+RSC', config='configs/rca/embedded_no_aggregation.py'),
    dict(label='+RSA', config='configs/rca/embedded_no_contrast.py'),
    dict(label='RCA', config='configs/rca/embedded.py'),
]
