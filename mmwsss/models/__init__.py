"""Models; importing the package registers all of them."""

from mmwsss.models import (
    aggregators,
    backbones,
    classifiers,
    decode_heads,
    heads,
    losses,
    memories,
    views,
)

__all__ = [
    'aggregators',
    'backbones',
    'classifiers',
    'decode_heads',
    'heads',
    'losses',
    'memories',
    'views',
]
