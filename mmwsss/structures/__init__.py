"""Data structures passed between datasets, models and metrics."""

from mmwsss.structures.wsss_data_sample import WSSSDataSample

__all__ = ['WSSSDataSample']
