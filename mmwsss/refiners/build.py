"""Refiners by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmwsss.refiners.base import Refiner
from mmwsss.registry import REFINERS
from mmwsss.utils.errors import ConfigError

SUFFIX = 'Refiner'


def refiner_names() -> dict[str, str]:
    """Return the short names and the types they stand for, ``pamr: PAMRRefiner``."""
    REFINERS.import_from_location()
    types = sorted(REFINERS.module_dict)
    return {name.removesuffix(SUFFIX).lower(): name for name in types}


def build_refiner(config: str | Mapping[str, Any]) -> Refiner:
    """Build a refiner.

    Args:
        config: A name, short or that of the type, or a config with ``type``.

    Raises:
        ConfigError: if there is no such refiner; the message has the known names.
    """
    settings = dict(type=config) if isinstance(config, str) else dict(config)
    names = refiner_names()
    name = settings.get('type')
    if isinstance(name, str):
        settings['type'] = name = names.get(name.lower(), name)
    if name is None or (isinstance(name, str) and REFINERS.get(name) is None):
        known = ', '.join(f'{short} ({long})' for short, long in names.items())
        raise ConfigError(f'no refiner {name!r}; known are {known}')
    return REFINERS.build(settings)
