"""Metrics and the writers of their figures."""

from mmwsss.evaluation.metrics import ClassIoUMetric, SeedIoUMetric

__all__ = ['ClassIoUMetric', 'SeedIoUMetric']
