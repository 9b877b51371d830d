"""Losses of the classifiers."""

from mmwsss.models.losses.consistency import AttentionConsistencyLoss
from mmwsss.models.losses.region_contrast import RegionContrastLoss
from mmwsss.models.losses.warm_start import AttentionWarmStartLoss

__all__ = ['AttentionConsistencyLoss', 'AttentionWarmStartLoss', 'RegionContrastLoss']
