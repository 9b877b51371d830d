"""Check the data sets of a config: read every file once, report, correct tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, init_default_scope

from mmwsss.apis.dataset_findings import (
    EXAMPLES,
    KINDS,
    SEVERITIES,
    Finding,
    Split,
    cooccurrence,
    find_problems,
    size_histogram,
)
from mmwsss.datasets import TagDataset, foreground_classes
from mmwsss.datasets.inspection import ImageFacts, inspect_image
from mmwsss.datasets.tag_table import plain_path, read_tag_table
from mmwsss.datasets.tag_writing import write_tag_table
from mmwsss.utils.errors import ConfigError, DataError, WSSSError
from mmwsss.utils.progress import track

LOADERS = ('train', 'seed', 'val', 'test')
CHUNK = 16


@dataclass(frozen=True)
class Loaded:
    """A split with the data set that reads it."""

    split: Split
    dataset: BaseDataset
    records: list[dict[str, Any]]


def load_splits(config: Config) -> tuple[list[Loaded], list[Finding]]:
    """Build the data sets of a config's loaders, without reading images.

    A data set whose tags cannot be read is taken without tags, so that its files are
    checked all the same.

    Returns:
        The splits, loaders of the same images and tags in one, and what was refused.

    Raises:
        ConfigError: if the config has no loader with a data set.
    """
    init_default_scope(config.get('default_scope') or 'mmwsss')
    loaded: list[Loaded] = []
    findings: list[Finding] = []
    for name in LOADERS:
        loader = config.get(f'{name}_dataloader')
        if not loader:
            continue
        try:
            found = _load(name, loader.dataset)
        # mmseg's own data sets assert that their files are there, without a word
        except (WSSSError, AssertionError, OSError, UnicodeError) as error:
            text = (
                str(error)
                or 'data_root, ann_file or data_prefix names what is not there'
            )
            findings.append(Finding('split', name, (text,)))
            if not loader.dataset.get('tag_file'):
                continue
            try:
                found = _load(name, ConfigDict({**loader.dataset, 'tag_file': None}))
            except WSSSError:
                continue
        loaded = _joined(loaded, found)
    if not loaded and not findings:
        raise ConfigError(
            f'the config has none of {", ".join(f"{n}_dataloader" for n in LOADERS)}'
        )
    return loaded, findings


def _load(name: str, settings: ConfigDict) -> Loaded:
    settings = settings.copy()
    if 'pipeline' in settings:
        settings.pipeline = []
    dataset = DATASETS.build(settings)
    records = [dataset.get_data_info(index) for index in range(len(dataset))]
    tags = {r['img_path']: r['gt_label'] for r in records if 'gt_label' in r}
    split = Split(
        (name,),
        tuple(record['img_path'] for record in records),
        foreground_classes(dataset.metainfo),
        tags,
        any('seg_map_path' in record for record in records),
    )
    return Loaded(split, dataset, records)


def _joined(loaded: list[Loaded], new: Loaded) -> list[Loaded]:
    """Add a split, or its name to that of the same content and use."""
    for index, other in enumerate(loaded):
        same_use = new.split.evaluates == other.split.evaluates
        if same_use and replace(new.split, names=other.split.names) == other.split:
            names = (*other.split.names, *new.split.names)
            merged = replace(other, split=replace(other.split, names=names))
            return [*loaded[:index], merged, *loaded[index + 1 :]]
    return [*loaded, new]


def read_facts(loaded: Sequence[Loaded], *, workers: int) -> dict[str, ImageFacts]:
    """Read every image and mask once, with several processes.

    Args:
        loaded: Splits; a mask that one of them reads counts for all.
        workers: Processes; 0 reads in this one.

    Returns:
        Facts by the image's path.

    Raises:
        DataError: if a process was killed.
    """
    records: dict[str, dict[str, Any]] = {}
    for item in loaded:
        for record in item.records:
            known = records.get(record['img_path'])
            if known is None or 'seg_map_path' not in known:
                records[record['img_path']] = record
    classes = max((len(item.split.classes) for item in loaded), default=0)
    inspect = partial(inspect_image, num_classes=classes)
    text, total = 'Reading images', len(records)
    found: Iterable[ImageFacts]
    if not workers:
        found = track(map(inspect, records.values()), text, total=total)
        return {facts.path: facts for facts in found}
    with ProcessPoolExecutor(workers) as pool:
        found = pool.map(inspect, records.values(), chunksize=CHUNK)
        try:
            shown = track(found, text, total=total)
            return {facts.path: facts for facts in shown}
        except BrokenProcessPool as error:
            raise DataError(
                'a process was killed, for want of memory perhaps: run again with '
                'fewer --workers'
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def model_classes(config: Config) -> int | None:
    """Return the foreground classes of a config's model, None if it does not say."""
    model = config.get('model') or {}
    if 'num_classes' in model:
        return model['num_classes']
    head = model.get('decode_head') or {}
    return head['num_classes'] - 1 if isinstance(head, dict) and head else None


def make_report(
    name: str,
    loaded: Sequence[Loaded],
    facts: Mapping[str, ImageFacts],
    findings: Sequence[Finding],
) -> dict[str, Any]:
    """Return all that was found, as plain values for JSON, terminal and HTML."""
    problems = [
        dict(
            kind=found.kind,
            **KINDS[found.kind]._asdict(),
            where=found.where,
            count=len(found.cases),
            examples=list(found.cases[:EXAMPLES]),
        )
        for found in findings
    ]
    problems.sort(key=lambda problem: SEVERITIES.index(problem['severity']))
    splits = [item.split for item in loaded]
    return dict(
        config=name,
        splits=[
            dict(
                name=split.name,
                images=len(split.paths),
                tagged=len(split.tags),
                with_masks=split.masks,
                classes=dict(zip(split.classes, split.counts())),
            )
            for split in splits
        ],
        problems=problems,
        errors=sum(p['count'] for p in problems if p['severity'] == 'error'),
        warnings=sum(p['count'] for p in problems if p['severity'] == 'warning'),
        cooccurrence=next((cooccurrence(s) for s in splits if s.tags), []),
        sizes=size_histogram(facts.values()),
    )


def check_config(
    config: Config, name: str, *, workers: int
) -> tuple[dict[str, Any], list[Loaded], dict[str, ImageFacts]]:
    """Check all data sets of a config.

    Args:
        config: With ``*_dataloader``.
        name: How the report calls it.
        workers: Processes that read.

    Returns:
        The report, the splits and the facts.
    """
    loaded, refused = load_splits(config)
    facts = read_facts(loaded, workers=workers)
    splits = [item.split for item in loaded]
    problems = find_problems(splits, facts, model_classes=model_classes(config))
    return make_report(name, loaded, facts, [*refused, *problems]), loaded, facts


def fix_tags(
    loaded: Sequence[Loaded], facts: Mapping[str, ImageFacts], folder: str | Path
) -> dict[str, int]:
    """Write copies of the tag files in which tags follow the masks, where there are.

    Entries of other images are kept. A file of a format without paths becomes CSV.

    Args:
        loaded: The splits.
        facts: Of all their images.
        folder: Where the copies go; not a folder of an original.

    Returns:
        Number of corrected images by the file written.

    Raises:
        ConfigError: if a copy would take the place of an original.
    """
    by_file: dict[str, list[Loaded]] = {}
    for item in loaded:
        if item.split.tags and isinstance(item.dataset, TagDataset):
            by_file.setdefault(str(item.dataset.tag_file), []).append(item)
    written = {}
    for source, items in by_file.items():
        copy = Path(folder, Path(source).name)
        if _has_no_paths(Path(source)):
            copy = Path(folder, f'{Path(source).stem}.csv')
        if copy.resolve() == Path(source).resolve():
            raise ConfigError(
                f'--fix-tags {folder}: {copy} is the original; choose another folder'
            )
        written[str(copy)] = _write_fixed(Path(source), copy, items, facts)
    return written


def _has_no_paths(source: Path) -> bool:
    """Whether a tag file's images are told by their places alone: it becomes CSV."""
    return source.is_dir() or source.suffix.lower() == '.npy'


def _write_fixed(
    source: Path, copy: Path, items: Sequence[Loaded], facts: Mapping[str, ImageFacts]
) -> int:
    classes = items[0].split.classes
    known: dict[str, tuple[str, ...]] = {}
    by_entry: dict[str, tuple[str, ...]] = {}
    fixed: set[str] = set()
    for item in items:
        for path, tags in item.split.tags.items():
            shown = facts[path].tags(len(classes))
            names = tuple(
                classes[index] for index in (tags if shown is None else shown)
            )
            image_id = item.dataset.image_id(path)
            image = image_id + Path(path).suffix
            known[image] = names
            if shown is not None and shown != list(tags):
                fixed.add(image_id)
                # entries may leave the suffix out
                by_entry[plain_path(image_id)] = by_entry[plain_path(image)] = names
    if not _has_no_paths(source):
        entries = read_tag_table(str(source)).entries
        known = {e.path: by_entry.get(e.path, e.names) for e in entries}
    write_tag_table(copy, known, classes)
    return len(fixed)
