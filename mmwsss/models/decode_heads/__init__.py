"""Decode heads for mmseg's segmentors."""

from mmwsss.models.decode_heads.deeplab_v2_head import DeepLabV2Head
from mmwsss.models.decode_heads.large_fov_head import LargeFOVHead

__all__ = ['DeepLabV2Head', 'LargeFOVHead']
