"""Transforms of the scope ``mmwsss``."""

from mmwsss.datasets.transforms.features import LoadFeatures
from mmwsss.datasets.transforms.loading import LoadImage, LoadMask, TagsFromMask
from mmwsss.datasets.transforms.packing import PackWSSSInputs
from mmwsss.datasets.transforms.padding import RandomPad
from mmwsss.datasets.transforms.randomness import CountedRandomness

__all__ = [
    'CountedRandomness',
    'LoadFeatures',
    'LoadImage',
    'LoadMask',
    'PackWSSSInputs',
    'RandomPad',
    'TagsFromMask',
]
