"""Pseudo labels: from seeds and images to palette PNG and their manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import broadcast_object_list, is_main_process
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, get_worker_info

from mmwsss.apis.background_scores import FIELD, BackgroundScore
from mmwsss.apis.seeds import TaggedImages
from mmwsss.apis.sharing import finish_store, share_of_pending
from mmwsss.datasets.transforms import LoadImage
from mmwsss.functional.localization import maps_to_image
from mmwsss.refiners import Refiner, build_refiner, refiner_type
from mmwsss.structures.seed_record import SeedRecord
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.atomic import atomic_write_text, remove_file
from mmwsss.utils.digests import digest_json
from mmwsss.utils.errors import ConfigError, DataError
from mmwsss.utils.label_codec import COLOURS, IGNORED_LABEL, LabelCodec
from mmwsss.utils.progress import track

MANIFEST = 'labels.json'
LABELS = 'labels'
DEFAULT_REFINER = 'pamr'


def choose_refiner(
    config: Config,
    *,
    name: str | None = None,
    background_threshold: float | None = None,
) -> Refiner:
    """Build the refiner of a config or of a command line.

    Args:
        config: As of ``refiner_settings``.
        name: As of ``refiner_settings``.
        background_threshold: As of ``refiner_settings``.

    Raises:
        ConfigError: if there is no such refiner or a setting is not usable.
        DependencyError: if the refiner needs a package that is absent.
    """
    return build_refiner(
        refiner_settings(config, name=name, background_threshold=background_threshold)
    )


def refiner_settings(
    config: Config,
    *,
    name: str | None = None,
    background_threshold: float | str | None = None,
) -> dict[str, Any]:
    """Return the refiner's settings of a config or of a command line.

    Args:
        config: With ``refiner = dict(type=...)``, or without.
        name: Another refiner; the config's settings hold if it is the same one.
        background_threshold: In place of the refiner's own; a score, or the rule of
            ``background_scores`` that shall choose it.

    Raises:
        ConfigError: if there is no such refiner.
    """
    settings = dict(config.get('refiner') or dict(type=DEFAULT_REFINER))
    if name and refiner_type(name) is not refiner_type(settings):
        settings = dict(type=name)
    if background_threshold is not None:
        settings[FIELD] = background_threshold
    return settings


def generate_labels(
    seeds: ArtefactStore[SeedRecord],
    images: TaggedImages,
    refiner: Refiner,
    out: str | Path,
    *,
    jobs: int = 1,
    background: BackgroundScore | None = None,
) -> dict[str, Any]:
    """Label all images by their seeds.

    Sound labels of an earlier run stay. ``out/labels.json`` exists when all labels do.

    Args:
        seeds: The finished store of these images.
        images: Of ``load_tagged_images``.
        refiner: From maps to labels.
        out: Folder of ``labels/<id>.png`` and ``labels.json``.
        jobs: Processes that label; several compute on the processor, and give the
            same bytes as one there.
        background: How the refiner's background score was chosen, for the manifest,
            where a rule chose it.

    Returns:
        The content of ``labels.json``.

    Raises:
        ArtefactError: if the folder holds labels of other seeds or of another refiner,
            or cannot be written.
        DataError: if an image is unreadable or not the one that was localized.
    """
    out, codec = Path(out), LabelCodec(images.palette)
    identity = dict(
        seeds=seeds.digest(),
        refiner=digest_json(refiner.settings()),
        classes=digest_json([images.classes, images.palette]),
    )
    store = ArtefactStore.create(out / LABELS, codec, identity)
    pending = share_of_pending(store, images.ids)
    if pending:
        remove_file(out / MANIFEST)
    paths = dict(zip(images.ids, images.paths))
    labels = label_images(
        _Labelling(pending, [paths[name] for name in pending], seeds, refiner), jobs
    )
    progress = track(labels, 'Labels', total=len(pending))
    for name, label in zip(pending, progress, strict=True):
        store.write(name, label)
    finish_store(store, images.ids)
    shared: list[dict[str, Any]] = [{}]
    if is_main_process():
        manifest = label_manifest(
            store, images, refiner, seeds=identity['seeds'], background=background
        )
        write_if_new(out / MANIFEST, manifest)
        shared = [manifest]
    broadcast_object_list(shared)
    return shared[0]


class _Labelling(Dataset):
    """The labels of images by their position."""

    def __init__(
        self,
        names: Sequence[str],
        paths: Sequence[str],
        seeds: ArtefactStore[SeedRecord],
        refiner: Refiner,
    ) -> None:
        self.names, self.paths = names, paths
        self.seeds, self.refiner = seeds, refiner

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        name = self.names[index]
        refiner = self.refiner.for_image(name)
        return label_image(self.seeds.read(name), self.paths[index], refiner)


def label_images(labelling: _Labelling, jobs: int) -> Iterator[NDArray[np.uint8]]:
    """Yield labels in order, made by several processes where asked for.

    Raises:
        ConfigError: if ``jobs`` is below 1.
        WSSSError: of the image that cannot be labelled.
    """
    if jobs < 1:
        raise ConfigError(f'jobs: expected >= 1, got {jobs}')
    workers = min(jobs, len(labelling)) if jobs > 1 else 0
    yield from DataLoader(
        labelling, batch_size=None, num_workers=workers, collate_fn=_unchanged
    )


def _unchanged(item: Any) -> Any:
    return item


def label_image(record: SeedRecord, path: str, refiner: Refiner) -> NDArray[np.uint8]:
    """Return the label (H, W) of an image file by its seed record.

    Raises:
        DataError: if the image is unreadable or of another size than when it was
            localized.
    """
    image = np.ascontiguousarray(LoadImage()(dict(img_path=path))['img'][..., ::-1])
    (height, width), (rows, columns) = image.shape[:2], record.ori_shape
    if (height, width) != (rows, columns):
        raise DataError(
            f'{path} is {width}x{height} (width x height), its seeds are of an image '
            f'of {columns}x{rows}: restore the image, or make the seeds again in '
            'another folder'
        )
    # forked processes cannot use a GPU
    on_cpu = refiner.on_cpu or get_worker_info() is not None
    device = 'cpu' if on_cpu else get_device()
    maps = maps_to_image(record.tensor().to(device), **record.geometry())
    return refiner(maps, image, record.classes)


def label_manifest(
    store: ArtefactStore[NDArray[np.uint8]],
    images: TaggedImages,
    refiner: Refiner,
    *,
    seeds: str,
    background: BackgroundScore | None = None,
) -> dict[str, Any]:
    """Count the labels' pixels and note what they are made from.

    Args:
        store: The finished store of labels.
        images: The images labelled.
        refiner: What labelled them.
        seeds: Digest of the store of their seeds.
        background: As of ``generate_labels``.
    """
    pixels = np.zeros(COLOURS, np.int64)
    checksums = {}
    for name in track(images.ids, 'Counting pixels'):
        pixels += np.bincount(store.read(name).ravel(), minlength=COLOURS)
        content = store.path(name).read_bytes()
        checksums[name] = hashlib.sha256(content).hexdigest()
    supervision = [
        part.extra_supervision
        for part in (refiner, background)
        if part and part.extra_supervision
    ]
    chosen = {} if background is None else dict(background_score=asdict(background))
    return dict(
        classes=list(images.classes),
        num_images=len(images.ids),
        pixels_per_class=_by_class(images.classes, pixels),
        ignored_pixels=int(pixels[IGNORED_LABEL]),
        images=checksums,
        refiner=refiner.settings(),
        seeds=seeds,
        extra_supervision=', '.join(supervision) or None,
        **chosen,
    )


def _by_class(classes: Sequence[str], pixels: NDArray[np.int64]) -> dict[str, int]:
    return {name: int(count) for name, count in zip(classes, pixels)}


def write_if_new(path: Path, value: dict[str, Any]) -> None:
    """Write a file of JSON, sorted; leave one with the same content alone.

    Raises:
        ArtefactError: if it cannot be written.
    """
    text = json.dumps(value, indent=1, sort_keys=True) + '\n'
    if not path.is_file() or path.read_bytes() != text.encode():
        atomic_write_text(path, text)
