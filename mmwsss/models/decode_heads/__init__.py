"""Decode heads for mmseg's segmentors."""

from mmwsss.models.decode_heads.deeplab_v2_head import DeepLabV2Head

__all__ = ['DeepLabV2Head']
