"""Judge refiners on stored seeds: their labels against masks, and what they cost.

Shared by refiner_gain.py and refiner_table.py.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from label_miou import count_pixels, figures_of
from numpy.typing import NDArray
from pseudo_label_quality import TOLERANCE, BoundaryTotals
from seed_store_miou import samples
from torch.utils.data import DataLoader, Dataset

from mmwsss.apis.pseudo_labels import label_image
from mmwsss.apis.seed_masks import METRIC, read_mask
from mmwsss.apis.seeds import TaggedImages
from mmwsss.refiners import Refiner, build_refiner
from mmwsss.registry import METRICS
from mmwsss.structures.seed_record import SeedRecord
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.atomic import atomic_write_text
from mmwsss.utils.digests import digest_json
from mmwsss.utils.errors import ArtefactError, ConfigError
from mmwsss.utils.progress import track

Settings = Mapping[str, Any]
Item = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], float]
"""Pixel counts, sums of boundary F, images of those, processor seconds."""


@dataclass(frozen=True)
class Contender:
    """A refiner and the settings that are searched.

    Args:
        label: Its name in a table.
        refiner: Type and settings that stay.
        search: Grids, each with the values of settings, in every combination. Those
            of one grid are no settings of another's candidates.
    """

    label: str
    refiner: Settings
    search: Sequence[Mapping[str, Sequence[Any]]] = ({},)

    def candidates(self) -> list[dict[str, Any]]:
        """Return the settings of every combination.

        Example:
            >>> grids = ({'alpha': (4, 8)}, {'background_threshold': (0.3,)})
            >>> [list(c.values()) for c in Contender('a', {}, grids).candidates()]
            [[4], [8], [0.3]]
        """
        return [
            {**self.refiner, **dict(zip(grid, values))}
            for grid in self.search
            for values in itertools.product(*grid.values())
        ]

    def searched(self, settings: Settings) -> dict[str, Any]:
        """Return the part of a candidate's settings that was searched."""
        names = dict.fromkeys(name for grid in self.search for name in grid)
        return {name: settings[name] for name in names if name in settings}


@dataclass(frozen=True)
class Judged:
    """Images with seeds and masks that refiners are judged on.

    Args:
        store: Their seeds.
        images: The images.
        masks: Files of their masks by id; images without one are left out.
        folder: Where figures are kept, so that a stop loses none; None keeps none.
        jobs: Processes; each computes on one thread.
    """

    store: ArtefactStore[SeedRecord]
    images: TaggedImages
    masks: Mapping[str, str]
    folder: Path | None = None
    jobs: int = 1

    def names(self) -> list[str]:
        """Return the images judged."""
        return [name for name in self.images.ids if name in self.masks]

    def seeds(self) -> dict[str, float]:
        """Return what ``SeedIoUMetric`` says of the seeds themselves."""
        metric = METRICS.build(dict(type=METRIC, split=str(self.store.root)))
        metric.dataset_meta = dict(classes=self.images.classes)
        count = 0
        for sample in samples(self.store, self.images, dict(self.masks)):
            metric.process(None, [sample])
            count += 1
        return metric.evaluate(count)

    def figures(self, settings: Settings) -> dict[str, Any]:
        """Return the figures of a refiner, in percent and seconds.

        Those of ``label_miou`` and ``boundary_F``; ``seconds`` has the median and the
        sum over images of a thread's time from seed record and image to the label.

        Raises:
            WSSSError: if the refiner cannot be built or an image not be labelled.
        """
        refiner = build_refiner(settings)
        path = self._place(refiner)
        if path is not None and path.exists():
            return _read(path)
        figures = self._measure(refiner)
        if path is not None:
            atomic_write_text(path, json.dumps(figures, indent=1) + '\n')
        return figures

    def search(self, contender: Contender) -> tuple[dict[str, Any], list[dict]]:
        """Return the settings with the highest mIoU, the first of equal ones, and all.

        Raises:
            WSSSError: as ``figures``.
        """
        tried = [
            dict(settings=contender.searched(settings), **self._brief(settings))
            for settings in track(contender.candidates(), contender.label)
        ]
        best = max(range(len(tried)), key=lambda index: tried[index]['mIoU'])
        return contender.candidates()[best], tried

    def _brief(self, settings: Settings) -> dict[str, float]:
        figures = self.figures(settings)
        return {name: figures[name] for name in ('mIoU', 'boundary_F', 'undecided')}

    def _place(self, refiner: Refiner) -> Path | None:
        if self.folder is None:
            return None
        origin = [refiner.settings(), self.store.digest(), self.names(), TOLERANCE]
        return self.folder / f'{digest_json(origin)}.json'

    def _measure(self, refiner: Refiner) -> dict[str, Any]:
        classes = self.images.classes
        counts = np.zeros((len(classes) + 1, len(classes)), np.int64)
        boundaries, seconds = BoundaryTotals(len(classes), TOLERANCE), []
        judging = _Judging(self, refiner)
        found = track(_all_of(judging), 'Images', total=len(judging))
        for pixels, total, images, elapsed in found:
            counts += pixels
            boundaries.total += total
            boundaries.images += images
            seconds.append(elapsed)
        return dict(
            images=len(seconds),
            **figures_of(counts, classes),
            **boundaries.figures(classes),
            seconds=dict(
                median=round(float(np.median(seconds)), 4),
                total=round(float(np.sum(seconds)), 4),
            ),
            extra_supervision=refiner.extra_supervision,
        )


class _Judging(Dataset):
    """What is counted of each image, by its position."""

    def __init__(self, judged: Judged, refiner: Refiner) -> None:
        self.judged, self.refiner = judged, refiner
        self.names = judged.names()
        self.paths = dict(zip(judged.images.ids, judged.images.paths))
        self.warm = False

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Item:
        name = self.names[index]
        if not self.warm:
            self._label(name)
            self.warm = True
        started = time.thread_time()
        label = self._label(name)
        elapsed = time.thread_time() - started
        record = self.judged.store.read(name)
        mask = read_mask(self.judged.masks[name], self.paths[name], record)
        mask = mask.numpy().astype(np.uint8)
        count = len(self.judged.images.classes)
        boundaries = BoundaryTotals(count, TOLERANCE)
        boundaries.add(label, mask)
        pixels, _ = count_pixels([(name, label, mask)], count)
        return pixels, boundaries.total, boundaries.images, elapsed

    def _label(self, name: str) -> NDArray[np.uint8]:
        refiner = self.refiner.for_image(name)
        return label_image(self.judged.store.read(name), self.paths[name], refiner)


def _all_of(judging: _Judging) -> Iterable[Item]:
    """Yield all items, from several processes; a process computes on one thread."""
    jobs = min(judging.judged.jobs, len(judging))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from DataLoader(
            judging,
            batch_size=None,
            num_workers=jobs if jobs > 1 else 0,
            collate_fn=_unchanged,
        )
    finally:
        torch.set_num_threads(threads)


def _unchanged(item: Any) -> Any:
    return item


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ArtefactError(f'{path} is damaged ({error}); remove it') from error


def contenders_of(
    parts: Iterable[Settings], only: Sequence[str] | None = None
) -> list[Contender]:
    """Return contenders by their plain settings.

    Args:
        parts: ``label``, ``refiner`` and optionally ``search`` of each.
        only: Labels wanted, by default all.

    Raises:
        ConfigError: if a label is not there.
    """
    found = [Contender(**part) for part in parts]
    labels = [contender.label for contender in found]
    if unknown := sorted(set(only or ()) - set(labels)):
        raise ConfigError(
            f'no refiner {", ".join(unknown)}; there are {", ".join(labels)}'
        )
    return [one for one in found if only is None or one.label in only]


def in_words(settings: Settings) -> str:
    """Return settings for a cell of a table; those that are None are left out.

    Example:
        >>> in_words({'background_threshold': 32 / 255, 'certainty': None})
        'background_threshold 0.125'
    """
    known = {name: value for name, value in settings.items() if value is not None}
    shown = (v if isinstance(v, str) else f'{v:.3g}' for v in known.values())
    return ', '.join(f'{name} {value}' for name, value in zip(known, shown)) or '-'
