"""Accumulated maps on disk: their growth over epochs, and their use as seeds.

``mmwsss.apis.accumulation`` says how they are laid out and made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmwsss.apis.launch import lasting_weights
from mmwsss.apis.seeds import TaggedImages, load_classifier, seed_origin
from mmwsss.apis.sharing import finish_store, share_of_pending
from mmwsss.structures.seed_record import STEPS, SeedCodec, SeedRecord
from mmwsss.utils.artefact_store import INDEX, MANIFEST, ArtefactStore
from mmwsss.utils.atomic import atomic_write_text
from mmwsss.utils.errors import ArtefactError
from mmwsss.utils.progress import track
from mmwsss.utils.sealing import difference

GROWTH = 'growth.jsonl'
GENERATION = 'epoch_'
SETTINGS = 'accumulation'
"""Part of an accumulated store's identity that generated seeds do not have."""
HALF = STEPS / 2
DECIMALS = 6


def growth_of(
    store: ArtefactStore[SeedRecord], images: TaggedImages
) -> dict[str, float]:
    """Count what a store holds.

    Returns:
        ``images`` with a map, ``maps``, ``tags`` that could have one, and
        ``covered``, the mean share in [0, 1] of a map's grid with more than 0.5.
    """
    records = [store.read(name) for name in images.ids]
    shares = [float((plane > HALF).mean()) for r in records for plane in r.maps]
    return dict(
        images=sum(bool(record.classes) for record in records),
        maps=len(shares),
        tags=sum(len(tags or ()) for tags in images.tags),
        covered=round(sum(shares) / max(1, len(shares)), DECIMALS),
    )


def read_growth(folder: str | Path) -> list[dict[str, Any]]:
    """Return the lines of a folder's ``growth.jsonl``, none if there is no file.

    Raises:
        ArtefactError: if it is damaged.
    """
    path = Path(folder) / GROWTH
    if not path.exists():
        return []
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [dict(line, epoch=int(line['epoch'])) for line in lines]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ArtefactError(
            f'{path} is damaged ({error!r}): train anew in another work directory'
        ) from error


def write_growth(folder: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Write a folder's ``growth.jsonl``.

    Raises:
        ArtefactError: if it cannot be written.
    """
    text = ''.join(json.dumps(line, sort_keys=True) + '\n' for line in lines)
    atomic_write_text(folder / GROWTH, text)


def generation(folder: Path, epoch: int) -> Path:
    """Return the folder of the store behind an epoch."""
    return folder / f'{GENERATION}{epoch}'


def open_generation(folder: Path, line: Mapping[str, Any]) -> ArtefactStore[SeedRecord]:
    """Open the store of a line of the growth.

    Raises:
        ArtefactError: if it is gone or has changed.
    """
    root = generation(folder, line['epoch'])
    if not (root / INDEX).exists():
        raise ArtefactError(
            f'{root} is gone: put it back, or resume from a later checkpoint'
        )
    store = ArtefactStore.open(root, SeedCodec())
    if store.digest() != line['store']:
        raise ArtefactError(
            f'{root} has changed since it was made: put it back, or resume from '
            'another checkpoint'
        )
    store.verify()
    return store


def open_accumulated(
    folder: str | Path, *, ended: bool = True
) -> ArtefactStore[SeedRecord]:
    """Open the current store of a training's accumulated maps, or a store itself.

    Args:
        folder: ``accumulated`` of a work directory, or any finished store of seeds.
        ended: Whether the training must have ended.

    Raises:
        ArtefactError: if there is none, or it has changed, or the training goes on.
    """
    folder = Path(folder)
    if (folder / MANIFEST).exists():
        store = ArtefactStore.open(folder, SeedCodec())
        store.verify()
        return store
    lines = read_growth(folder)
    if not lines:
        raise ArtefactError(
            f'{folder} holds no accumulated maps: train with '
            "custom_hooks=[dict(type='MapAccumulationHook')], or name another folder"
        )
    if ended and not lines[-1]['last']:
        raise ArtefactError(
            f'{folder} is of a training that has not ended, epoch '
            f'{lines[-1]["epoch"]} is its last: resume it, or name the store of that '
            'epoch itself'
        )
    return open_generation(folder, lines[-1])


def accumulated_seeds(
    config: Config,
    checkpoint: str,
    images: TaggedImages,
    source: str | Path,
    folder: str | Path,
) -> ArtefactStore[SeedRecord]:
    """Take accumulated maps for seeds; a class without a map gets one of 0.

    Args:
        config: Config of the classifier with a ``seed_dataloader``.
        checkpoint: The classifier behind the last epoch accumulated.
        images: Of ``load_tagged_images`` for the same config.
        source: As of ``open_accumulated``.
        folder: Where the seeds go.

    Returns:
        The finished store.

    Raises:
        ArtefactError: if the maps are of another config, checkpoint or data set, or
            the folder of other seeds.
        CheckpointError: if the checkpoint is unreadable or of another model.
    """
    maps = open_accumulated(source)
    model = load_classifier(config, checkpoint)
    origin = seed_origin(config, lasting_weights(model), images)
    change = difference(maps.identity, origin)
    if change or SETTINGS not in maps.identity:
        raise ArtefactError(
            f'{maps.root} was not accumulated up to {checkpoint}: another '
            f'{change or "origin, it holds generated seeds"}; name config and '
            'checkpoint of the training that accumulated it'
        )
    identity = {**maps.identity, 'accumulated': maps.digest()}
    store = ArtefactStore.create(folder, SeedCodec(), identity)
    tags = dict(zip(images.ids, images.tags))
    for name in track(share_of_pending(store, images.ids), 'Seeds'):
        store.write(name, maps.read(name).with_classes(tags[name] or ()))
    finish_store(store, images.ids)
    return store
