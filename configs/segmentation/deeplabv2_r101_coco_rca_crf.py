# The DeepLabV2 of RCA's labels of COCO-2014, tested behind the dense CRF; scales and
# flips on top: mmseg's tools/test.py --tta. Needs pip install 'mmwsss[crf]'.
_base_ = 'deeplabv2_r101_coco_rca.py'
test_evaluator = dict(type='mmwsss.CRFIoUMetric', jobs=4)
tta_model = dict(type='mmwsss.MergingTTAModel')
