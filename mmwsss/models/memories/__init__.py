"""What models remember of earlier images."""

from mmwsss.models.memories.region_batch import RegionBatch
from mmwsss.models.memories.region_memory import RegionMemory

__all__ = ['RegionBatch', 'RegionMemory']
