# The DeepLabV2 of RCA's labels of VOC 2012, tested behind the dense CRF; scales and
# flips on top: mmseg's tools/test.py --tta. Needs pip install 'mmwsss[crf]'.
_base_ = 'deeplabv2_r101_voc_rca.py'
test_evaluator = dict(type='mmwsss.CRFIoUMetric', jobs=4)
tta_model = dict(type='mmwsss.MergingTTAModel')
