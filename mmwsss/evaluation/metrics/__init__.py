"""Metrics, registered in ``mmwsss.registry.METRICS``."""

from mmwsss.evaluation.metrics.class_iou_metric import ClassIoUMetric
from mmwsss.evaluation.metrics.crf_iou_metric import CRFIoUMetric
from mmwsss.evaluation.metrics.prediction_writer import PredictionWriter
from mmwsss.evaluation.metrics.seed_iou_metric import SeedIoUMetric

__all__ = ['CRFIoUMetric', 'ClassIoUMetric', 'PredictionWriter', 'SeedIoUMetric']
