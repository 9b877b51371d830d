"""The background's score, chosen once over all seeds of a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import all_reduce, get_rank, get_world_size
from torch import Tensor

from mmwsss.apis.seed_masks import mask_paths, metric_settings, read_mask
from mmwsss.apis.seeds import TaggedImages
from mmwsss.evaluation.metrics import SeedIoUMetric
from mmwsss.evaluation.seed_summary import SeedSummary
from mmwsss.functional.localization import maps_to_image
from mmwsss.functional.seeds import seed_histogram
from mmwsss.registry import METRICS
from mmwsss.structures.seed_record import SeedRecord
from mmwsss.utils.artefact_store import ArtefactStore, shard
from mmwsss.utils.errors import ConfigError, DataError
from mmwsss.utils.progress import track

FIELD = 'background_threshold'
UNDECIDED = 0.0
"""Stands for a score yet to be chosen where settings are checked before."""
SEARCHED, GT_FREE = 'searched', 'gt_free'
PROTOCOLS = {SEARCHED: 'best', GT_FREE: 'gt_free'}
"""The protocol of ``SeedIoUMetric`` that each rule takes the threshold of."""


@dataclass(frozen=True)
class BackgroundScore:
    """A score that was chosen, and how.

    Args:
        rule: ``'searched'`` or ``'gt_free'``.
        threshold: The score in [0, 1].
        num_images: Images whose seeds it was chosen on.
    """

    rule: str
    threshold: float
    num_images: int

    @property
    def extra_supervision(self) -> str | None:
        """What it used besides image tags."""
        return 'masks (threshold searched)' if self.rule == SEARCHED else None


def score_or_rule(text: str) -> float | str:
    """Read a command line's number; other text stands for a rule's name."""
    try:
        return float(text)
    except ValueError:
        return text


def background_rule(settings: Mapping[str, Any], masks: str | None) -> str | None:
    """Return the rule that shall choose a refiner's ``background_threshold``.

    Args:
        settings: The refiner's.
        masks: Folder of masks, which the rule ``'searched'`` reads.

    Returns:
        None where the score is a number, or no threshold.

    Raises:
        ConfigError: if there is no such rule, or masks are missing or not used.
    """
    given = settings.get(FIELD)
    rule = given if isinstance(given, str) else None
    if rule is not None and rule not in PROTOCOLS:
        raise ConfigError(
            f'refiner.{FIELD}: expected a number in [0, 1], {" or ".join(PROTOCOLS)}, '
            f'got {rule!r}'
        )
    if rule == SEARCHED and masks is None:
        raise ConfigError(
            f'refiner.{FIELD}={SEARCHED!r} compares seeds with masks: name their '
            f'folder with --masks, or choose without masks, by {GT_FREE!r}'
        )
    if rule != SEARCHED and masks is not None:
        raise ConfigError(
            f'--masks {masks} would not be read: add --background-threshold '
            f'{SEARCHED}, or leave it out'
        )
    return rule


def masks_of_all(config: Config, images: TaggedImages, folder: str) -> dict[str, str]:
    """Return the file of each image's mask.

    Args:
        config: With a ``seed_dataloader``.
        images: Of ``load_tagged_images`` for the same config.
        folder: As of the working directory or, if it is not there, of ``data_root``.

    Raises:
        DataError: if there is no such folder or an image has no mask.
    """
    path = Path(folder)
    found = mask_paths(config, str(path.absolute()) if path.is_dir() else folder)
    missing = [name for name in images.ids if name not in found]
    if missing:
        raise DataError(
            f'{len(missing)} of {len(images.ids)} images, as {missing[0]}, have no '
            f'mask in {folder}: name the folder that has all of them, or choose '
            f'without masks, by --background-threshold {GT_FREE}'
        )
    return found


def choose_background(
    rule: str,
    config: Config,
    seeds: ArtefactStore[SeedRecord],
    images: TaggedImages,
    *,
    masks: Mapping[str, str] | None = None,
) -> BackgroundScore:
    """Choose the background's score on all seeds; each process must call it.

    It is the threshold that ``SeedIoUMetric``, with the config's settings of it,
    reports for these seeds: ``'gt_free'`` by Otsu on the scores, ``'searched'`` the one
    of the highest mIoU.

    Args:
        rule: One of ``PROTOCOLS``.
        config: With a ``seed_dataloader``.
        seeds: The finished store of these images.
        images: Of ``load_tagged_images`` for the same config.
        masks: Of ``masks_of_all``, for the rule ``'searched'`` alone.

    Returns:
        The same on every process.

    Raises:
        ArtefactError: if a record is damaged.
        DataError: if a mask cannot be read or does not fit its image.
    """
    metric = METRICS.build(metric_settings(config, seeds.root))
    histogram = joint_histogram(metric, seeds, images, masks)
    summary = SeedSummary(
        histogram, thresholds=metric.thresholds, classes=images.classes
    )
    chosen = summary.thresholds[summary.index[PROTOCOLS[rule]]]
    return BackgroundScore(rule, chosen, len(images.ids))


def joint_histogram(
    metric: SeedIoUMetric,
    seeds: ArtefactStore[SeedRecord],
    images: TaggedImages,
    masks: Mapping[str, str] | None,
) -> Tensor:
    """Return the ``seed_histogram`` of all images; each process reads its share.

    Args:
        metric: Whose thresholds and ignored label hold.
        seeds: The finished store of these images.
        images: The images.
        masks: File of each image's mask; without them no pixel is judged.

    Returns:
        (C, C + 1, T + 1) int64, the same on every process.
    """
    count = len(images.classes)
    total = torch.zeros(count, count + 1, len(metric.grid) + 1, dtype=torch.int64)
    files = dict(zip(images.ids, images.paths))
    own = shard(images.ids, get_rank(), get_world_size())
    for name in track(own, 'Background score'):
        record = seeds.read(name)
        if masks is None:
            mask = torch.full(record.ori_shape, metric.ignore_index)
        else:
            mask = read_mask(masks[name], files[name], record)
        total += _histogram(metric, record, mask, count, files[name])
    all_reduce(total)
    return total


def _histogram(
    metric: SeedIoUMetric, record: SeedRecord, mask: Tensor, count: int, name: str
) -> Tensor:
    try:
        return seed_histogram(
            maps_to_image(record.tensor(), **record.geometry()),
            record.classes,
            mask,
            metric.grid,
            num_classes=count,
            ignore_index=metric.ignore_index,
        )
    except ValueError as error:
        raise DataError(f'{name}: {error}') from error
