"""From localization maps, image and tags to a pseudo label."""

from mmwsss.refiners.base import Refiner
from mmwsss.refiners.build import build_refiner, refiner_names
from mmwsss.refiners.pamr import PAMRRefiner
from mmwsss.refiners.threshold import ThresholdRefiner

__all__ = [
    'PAMRRefiner',
    'Refiner',
    'ThresholdRefiner',
    'build_refiner',
    'refiner_names',
]
