"""Models; importing the package registers all of them."""

from mmwsss.models import (
    backbones,
    classifiers,
    decode_heads,
    heads,
    losses,
    memories,
    views,
)

__all__ = [
    'backbones',
    'classifiers',
    'decode_heads',
    'heads',
    'losses',
    'memories',
    'views',
]
