"""Heads that give class maps."""

from mmwsss.models.heads.cam_head import CAMHead

__all__ = ['CAMHead']
