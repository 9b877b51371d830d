"""Metrics and the writers of their figures."""

from mmwsss.evaluation.metrics import SeedIoUMetric

__all__ = ['SeedIoUMetric']
