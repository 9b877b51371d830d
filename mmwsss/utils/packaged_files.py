"""Configs and tools that come with the package.

They lie in ``mmwsss/.mim``, where mmengine looks for ``mmwsss::acr/vit_hybrid_voc.py``:
as links to the repository's folders, or as files of an installed wheel.
"""

from __future__ import annotations

import difflib
import os.path as osp
from pathlib import Path

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

from mmwsss.utils.errors import ConfigError

FILES = Path(__file__).parents[1] / '.mim'
CONFIGS, TOOLS = (FILES / 'configs').resolve(), (FILES / 'tools').resolve()
PREFIX = 'mmwsss::'
PARTS = '_base_'
CLOSE_NAMES = 3

# mmengine refuses the prefixes of packages that it does not know
MODULE2PACKAGE.setdefault('mmwsss', 'mmwsss')


def config_names() -> list[str]:
    """Return the names of all configs that can be run, sorted."""
    files = (path.relative_to(CONFIGS) for path in CONFIGS.rglob('*.py'))
    return sorted(
        path.with_suffix('').as_posix() for path in files if PARTS not in path.parts
    )


def config_path(name: str) -> Path:
    """Return the file of a config of the package.

    Args:
        name: Its path in ``configs``, the suffix may be left off; with ``configs/``
            or mmengine's ``mmwsss::`` in front it means the same.

    Raises:
        ConfigError: if there is none; the message offers close names.
    """
    plain = name.removeprefix(PREFIX).removeprefix('configs/').removesuffix('.py')
    path = CONFIGS / f'{plain}.py'
    if osp.isfile(path):
        return path
    names = config_names()
    # the folder may be the wrong one, and the rest right
    last = '/' + plain.rpartition('/')[2]
    close = [other for other in names if other.endswith(last)]
    close += difflib.get_close_matches(plain, names, n=CLOSE_NAMES)
    offers = ', '.join(dict.fromkeys(close)) or 'acr/vit_hybrid_voc'
    raise ConfigError(
        f'no config {name}: neither a file, nor one of those that come with mmwsss, '
        f'such as {offers} ("mmwsss configs" lists them)'
    )


def find_config(name: str | Path) -> Path:
    """Return the file of a config given by its path or by its name in the package.

    Raises:
        ConfigError: if there is none.
    """
    return Path(name) if osp.isfile(name) else config_path(str(name))


def get_config(name: str) -> Config:
    """Read a config of the package.

    Args:
        name: As of ``config_path``.

    Raises:
        ConfigError: if there is none.

    Example:
        >>> get_config('acr/vit_hybrid_voc').model.num_classes
        20
    """
    return Config.fromfile(config_path(name))
