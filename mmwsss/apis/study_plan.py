"""What a study is to run: cells, each a config with its options, times seeds."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmwsss.apis.launch import check_options
from mmwsss.apis.pipeline import REPOSITORY
from mmwsss.apis.pipeline_stages import by_dotted_key
from mmwsss.utils.digests import digest_json
from mmwsss.utils.errors import ConfigError

NEEDED = frozenset({'title', 'budget', 'baseline', 'cells', 'seeds', 'figures'})
OPTIONAL = frozenset(
    {'config', 'options', 'splits', 'threshold_from', 'protocol', 'variants'}
)
CELL_PARTS = frozenset({'label', 'config', 'options'})
WHOLE_TEST = 'test'
"""Name of the only split of a study that states none."""


def folder_name(label: str) -> str:
    """Return a label as the name of a folder.

    Example:
        >>> folder_name('flip + hiding, 0.3')
        'flip-hiding-0.3'
    """
    return re.sub(r'[^a-z0-9._]+', '-', label.lower()).strip('-')


@dataclass(frozen=True)
class Cell:
    """One row of a table.

    Args:
        label: Its name there.
        config: Config file, from the repository's root.
        options: Settings in place of the config's, by dotted key.
    """

    label: str
    config: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def folder(self) -> str:
        """Name of the folder of its runs."""
        return folder_name(self.label)


@dataclass(frozen=True)
class StudyRun:
    """A cell with a seed: one training and its measurement."""

    cell: Cell
    seed: int

    @property
    def name(self) -> str:
        """Path of its folder below the study's."""
        return f'{self.cell.folder}/seed_{self.seed}'


@dataclass(frozen=True)
class Measurement:
    """A test of a run's weights.

    Args:
        name: Its name in the tables.
        options: What it changes in the run's config.
        threshold_from: Name of the measurement whose best threshold is this one's
            fixed threshold; empty for none.
    """

    name: str
    options: Mapping[str, Any]
    threshold_from: str = ''

    @property
    def folder(self) -> str:
        """Name of the folder of its curves."""
        return folder_name(self.name)

    def config(self, config: Config) -> Config:
        """Return a run's config with this test."""
        config = Config(config._cfg_dict.to_dict())
        check_options(config, dict(self.options))
        config.merge_from_dict(dict(self.options))
        return config


@dataclass(frozen=True)
class Study:
    """A table to fill.

    Args:
        title: What it asks.
        budget: What one run costs, in words; stated with the figures.
        baseline: Label of the cell that the others are compared with.
        cells: The rows.
        seeds: Seeds of every cell.
        figures: Names of the figures shown, as the test's metrics give them.
        splits: Name of each measured split to the options that choose it.
        variants: Name to options: further ways to measure the same weights.
        threshold_from: Split whose best threshold is the fixed one of later splits.
        changes: Settings given in place of every cell's, which the budget knows not.
    """

    title: str
    budget: str
    baseline: str
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    figures: tuple[str, ...]
    splits: Mapping[str, Mapping[str, Any]]
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    threshold_from: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)

    def runs(self) -> list[StudyRun]:
        """Return all runs, seed by seed, so that a part of them is a paired table."""
        return [StudyRun(cell, seed) for seed in self.seeds for cell in self.cells]

    def config_of(self, run: StudyRun) -> Config:
        """Return the config that trains a run.

        Raises:
            ConfigError: if the file is absent or an option names no setting.
        """
        config = _read(run.cell.config)
        check_options(config, dict(run.cell.options))
        config.merge_from_dict(dict(run.cell.options))
        config.merge_from_dict({'randomness.seed': run.seed})
        return config

    def tests(self) -> list[Measurement]:
        """Return the measurements of every run, in their order."""
        source = self.threshold_from
        return [
            Measurement(
                name=_joined(split, variant),
                options={**options, **further},
                threshold_from=_joined(source, variant) if source != split else '',
            )
            for variant, further in (self.variants or {'': {}}).items()
            for split, options in self.splits.items()
        ]

    def digest_of(self, run: StudyRun) -> str:
        """Return the digest of all settings that decide a run's figures."""
        settings = self.config_of(run)._cfg_dict.to_dict()
        return digest_json([settings, [asdict(test) for test in self.tests()]])


def read_study(
    path: str | Path,
    *,
    options: Mapping[str, Any] | None = None,
    seeds: Sequence[int] | None = None,
    only: Collection[str] = (),
) -> Study:
    """Read a study's config and check all of its cells.

    Args:
        path: The config, see ``configs/studies``.
        options: Settings in place of every cell's.
        seeds: Seeds in place of the config's.
        only: Labels of the cells wanted; the baseline is always among them.

    Raises:
        ConfigError: if a part is missing, unknown or contradictory, or an option of a
            cell or split names no setting.
    """
    if not Path(path).is_file():
        raise ConfigError(f'no config at {path}; see configs/studies')
    parts = _parts(path)
    if missing := NEEDED - parts.keys():
        raise ConfigError(f'{path} lacks {", ".join(sorted(missing))}')
    cells = [_cell(path, part, parts) for part in parts['cells']]
    _check_labels(path, cells, {parts['baseline'], *only})
    wanted = {parts['baseline'], *only} if only else {cell.label for cell in cells}
    splits = parts.get('splits') or {WHOLE_TEST: {}}
    study = Study(
        title=parts['title'],
        budget=parts['budget'],
        baseline=parts['baseline'],
        cells=tuple(
            Cell(cell.label, cell.config, {**cell.options, **(options or {})})
            for cell in cells
            if cell.label in wanted
        ),
        seeds=tuple(seeds if seeds is not None else parts['seeds']),
        figures=tuple(parts['figures']),
        splits={name: by_dotted_key(value) for name, value in splits.items()},
        variants={
            name: by_dotted_key(value)
            for name, value in parts.get('variants', {}).items()
        },
        threshold_from=parts.get('threshold_from'),
        changes=dict(options or {}),
    )
    _check(path, study)
    return study


def _parts(path: str | Path) -> dict[str, Any]:
    """Read a study's settings over those of its protocol; options of both count."""
    own = Config.fromfile(path)._cfg_dict.to_dict()
    protocol = {}
    if 'protocol' in own:
        protocol = _read(own['protocol'])._cfg_dict.to_dict()
    options = {
        **by_dotted_key(protocol.get('options', {})),
        **by_dotted_key(own.get('options', {})),
    }
    parts = {**protocol, **own, 'options': options}
    _check_names(str(path), parts, NEEDED | OPTIONAL)
    return parts


def _cell(path: str | Path, part: Any, parts: Mapping[str, Any]) -> Cell:
    _check_names(f'a cell of {path}', part, CELL_PARTS)
    config = part.get('config') or parts.get('config')
    if 'label' not in part or not config:
        raise ConfigError(f'{path}: a cell needs a label and a config, got {part}')
    return Cell(
        part['label'],
        config,
        {**parts['options'], **by_dotted_key(part.get('options', {}))},
    )


def _joined(split: str | None, variant: str) -> str:
    return ', '.join(filter(None, [split, variant])) if split else ''


def _check_labels(path: str | Path, cells: Sequence[Cell], named: set[str]) -> None:
    labels = [cell.label for cell in cells]
    folders = [cell.folder for cell in cells]
    twins = sorted({name for name in folders if folders.count(name) > 1})
    if twins:
        raise ConfigError(f'{path}: cells share the name {", ".join(twins)}')
    if unknown := named - set(labels):
        raise ConfigError(
            f'{path} has no cell {", ".join(sorted(unknown))}; it has '
            f'{", ".join(labels)}'
        )


def _check(path: str | Path, study: Study) -> None:
    if not study.seeds or len(set(study.seeds)) != len(study.seeds):
        raise ConfigError(f'{path}: seeds must be distinct, got {list(study.seeds)}')
    if study.threshold_from not in (None, *study.splits):
        raise ConfigError(
            f'{path}: threshold_from={study.threshold_from!r} is none of the splits '
            f'{", ".join(study.splits)}'
        )
    for cell in study.cells:
        config = study.config_of(StudyRun(cell, study.seeds[0]))
        for test in study.tests():
            test.config(config)


def _check_names(where: str, found: Any, known: Collection[str]) -> None:
    unknown = sorted(set(found) - set(known))
    if unknown:
        raise ConfigError(
            f'{where} has no setting {", ".join(unknown)}; it has '
            f'{", ".join(sorted(known))}'
        )


def _read(path: str) -> Config:
    place = REPOSITORY / path
    if not place.is_file():
        raise ConfigError(f'no config at {path}; see configs/')
    return Config.fromfile(place)
