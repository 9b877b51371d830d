"""Losses of the classifiers."""

from mmwsss.models.losses.consistency import AttentionConsistencyLoss

__all__ = ['AttentionConsistencyLoss']
