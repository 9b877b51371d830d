"""Heads of the convolutional classifiers."""

from mmwsss.models.heads.cam_head import CAMHead
from mmwsss.models.heads.region_projection import RegionProjection

__all__ = ['CAMHead', 'RegionProjection']
