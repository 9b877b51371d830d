"""Config files, and values in them that no part of a run could use."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config, DictAction

from mmwsss.utils.errors import ConfigError

SEEDS = 2**32
"""``numpy.random.seed`` takes less than this."""


class Rule(NamedTuple):
    """What a setting must be.

    Args:
        key: Pattern of its dotted key.
        expected: In words.
        holds: Tells whether a value is so.
    """

    key: str
    expected: str
    holds: Callable[[Any], bool]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, float) or _whole(value)


LOADERS = r'(train|val|test|seed)_dataloader'
RULES = (
    Rule(
        r'randomness\.seed',
        f'a whole number in [0, {SEEDS}) or None',
        lambda value: value is None or (_whole(value) and 0 <= value < SEEDS),
    ),
    Rule(
        rf'{LOADERS}\.batch_size|train_cfg\.(max_epochs|max_iters|val_interval)'
        r'|model\.num_classes',
        'a whole number >= 1',
        lambda value: _whole(value) and value >= 1,
    ),
    Rule(
        rf'{LOADERS}\.num_workers',
        'a whole number >= 0',
        lambda value: _whole(value) and value >= 0,
    ),
    Rule(
        r'optim_wrapper\.optimizer\.(lr|weight_decay|momentum)',
        'a finite number >= 0',
        lambda value: _number(value) and isfinite(value) and value >= 0,
    ),
)


def read_config_file(path: str | Path) -> Config:
    """Read a config file; it is a program, of which anything may be wrong.

    Raises:
        ConfigError: if there is no such file, or it cannot be read, with the reason.
    """
    if not Path(path).is_file():
        raise ConfigError(f'no config at {path}; see configs/')
    try:
        return Config.fromfile(path)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f'{path} cannot be read ({type(error).__name__}: {error}); correct it, or '
            'begin with a copy of one in configs/'
        ) from error


def check_values(config: Mapping[str, Any]) -> None:
    """Check the settings that are alike in all configs.

    What only some parts have, their constructors check.

    Raises:
        ConfigError: naming the first that no run could use.
    """
    for key, value in flat(config):
        for rule in RULES:
            if re.fullmatch(rule.key, key) and not rule.holds(value):
                raise ConfigError(f'{key}: expected {rule.expected}, got {value!r}')


def flat(config: Mapping[str, Any], start: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the settings of nested mappings by dotted key.

    Example:
        >>> list(flat({'a': {'b': 1, 'c': [2]}}))
        [('a.b', 1), ('a.c', [2])]
    """
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from flat(value, f'{start}{name}.')
        else:
            yield f'{start}{name}', value


class OptionAction(DictAction):
    """mmengine's action of ``--cfg-options`` that tells what it cannot read."""

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Add ``key=value`` settings; leave the program with 2 for anything else."""
        for value in values or ():
            key, equals, _ = value.partition('=')
            if not key or not equals:
                parser.error(f'{option_string}: expected key=value, got {value!r}')
        try:
            super().__call__(parser, namespace, values, option_string)
        except (ValueError, AssertionError) as error:
            parser.error(f'{option_string}: {error}')
