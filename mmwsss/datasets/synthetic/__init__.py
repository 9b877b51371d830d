"""The embedded data set: generated images with exact masks in VOC's layout."""

from mmwsss.datasets.synthetic.classes import SYNTHETIC_METAINFO
from mmwsss.datasets.synthetic.scenes import Scene, draw_scene
from mmwsss.datasets.synthetic.writer import SyntheticSettings, write_synthetic

__all__ = [
    'SYNTHETIC_METAINFO',
    'Scene',
    'SyntheticSettings',
    'draw_scene',
    'write_synthetic',
]
