"""Models; importing the package registers all of them."""

from mmwsss.models import (
    affinity,
    aggregators,
    backbones,
    classifiers,
    data_preprocessors,
    decode_heads,
    heads,
    losses,
    memories,
    merging_tta,
    views,
)

__all__ = [
    'affinity',
    'aggregators',
    'backbones',
    'classifiers',
    'data_preprocessors',
    'decode_heads',
    'heads',
    'losses',
    'memories',
    'merging_tta',
    'views',
]
