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


def refiner_type(config: str | Mapping[str, Any]) -> type[Refiner]:
    """Return the class of a refiner's name or config, without building it.

    Raises:
        ConfigError: if there is no such refiner; the message has the known names.
    """
    name = config if isinstance(config, str) else config.get('type')
    if isinstance(name, type):
        return name
    names = refiner_names()
    found = REFINERS.get(names.get(name.lower(), name)) if name else None
    if found is None:
        known = ', '.join(f'{short} ({long})' for short, long in names.items())
        raise ConfigError(f'no refiner {name!r}; known are {known}')
    return found


def build_refiner(config: str | Mapping[str, Any]) -> Refiner:
    """Build a refiner.

    Args:
        config: A name, short or that of the type, or a config with ``type``.

    Raises:
        ConfigError: if there is no such refiner; the message has the known names.
        DependencyError: if it needs a package that is absent.
    """
    settings = {} if isinstance(config, str) else dict(config)
    return REFINERS.build(settings | dict(type=refiner_type(config)))
