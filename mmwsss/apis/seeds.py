"""Seeds: localization maps of a split's tagged images, stored by image.

Only images and tags are read. Any number of processes gives the same bytes, given
the same number of threads a process (``OMP_NUM_THREADS``), as convolutions round
differently with another. ``test_cfg.fp16`` of a config, as mmengine's own test loop
has it, localizes under autocast: bfloat16 on a CPU, half precision on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.runner.amp import autocast
from torch import Tensor
from torch.utils.data import DataLoader

from mmwsss.apis.launch import check_fits, lasting_weights
from mmwsss.apis.sharing import finish_store, share_of_pending
from mmwsss.datasets import foreground_classes
from mmwsss.models.classifiers.base import WSSSClassifier
from mmwsss.registry import DATASETS, MODELS
from mmwsss.structures import WSSSDataSample
from mmwsss.structures.seed_record import SeedCodec, SeedRecord, seed_identity
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.digests import digest_json
from mmwsss.utils.errors import CheckpointError, ConfigError
from mmwsss.utils.progress import track

LOADER = 'seed_dataloader'


@dataclass(frozen=True)
class TaggedImages:
    """The images that seeds and labels are made of.

    Args:
        dataset: A ``TagDataset`` or a data set derived from it.
        ids: Image ids in the data set's order.
        paths: Files of the images.
        tags: Foreground class indices of each image; None without a tag list.
    """

    dataset: BaseDataset
    ids: list[str]
    paths: list[str]
    tags: list[list[int] | None]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, the background first."""
        return tuple(self.dataset.metainfo['classes'])

    @property
    def palette(self) -> list[Sequence[int]]:
        """Colour of each class."""
        return list(self.dataset.metainfo['palette'])


def load_tagged_images(config: Config) -> TaggedImages:
    """Build the data set of ``seed_dataloader`` and read its list.

    Raises:
        ConfigError: if the config has none, or one with masks, without tags that the
            model asks for, or of another class count than the model.
        DataError: if the data set cannot be read.
    """
    init_default_scope(config.get('default_scope') or 'mmwsss')
    if LOADER not in config:
        raise ConfigError(
            f'the config has no {LOADER}; add one that reads images and tags, like '
            'that of configs/_base_/datasets/voc_aug_384.py'
        )
    if 'seg_map_path' in config[LOADER].dataset.get('data_prefix', {}):
        raise ConfigError(
            f'seeds are made without masks: take seg_map_path off {LOADER}.dataset'
        )
    dataset = DATASETS.build(config[LOADER].dataset)
    records = [dataset.get_data_info(index) for index in range(len(dataset))]
    paths = [record['img_path'] for record in records]
    tags = [record.get('gt_label') for record in records]
    _check_dataset(config, foreground_classes(dataset.metainfo), tags)
    return TaggedImages(dataset, [dataset.image_id(p) for p in paths], paths, tags)


def _check_dataset(
    config: Config, classes: Sequence[str], tags: Sequence[list[int] | None]
) -> None:
    if None in tags and config.model.get('tags') != 'predicted':
        raise ConfigError(
            f'the images have no tags: set {LOADER}.dataset.tag_file, or let the '
            "classifier find them with model.tags='predicted'"
        )
    num_classes = config.model.get('num_classes')
    if num_classes != len(classes):
        raise ConfigError(
            f'the model has {num_classes} classes, the data set '
            f"{len(classes)}: set model.num_classes to the data set's"
        )


def load_classifier(config: Config, checkpoint: str) -> WSSSClassifier:
    """Build a config's classifier with a checkpoint's weights, ready to predict.

    Raises:
        CheckpointError: if the checkpoint is unreadable or of another model.
    """
    init_default_scope(config.get('default_scope') or 'mmwsss')
    model = MODELS.build(config.model)
    model.load_state_dict(check_fits(checkpoint, model, whole=True))
    return model.to(get_device()).eval()


def seed_origin(
    config: Config, weights: Mapping[str, Tensor], images: TaggedImages
) -> dict[str, str]:
    """Return what the maps of these images are made from, as digests."""
    loader = config[LOADER]
    settings = dict(
        model=config.model,
        pipeline=loader.dataset.pipeline,
        batch_size=loader.get('batch_size', 1),
    )
    if half_precision(config):
        settings['fp16'] = True
    identity = seed_identity(
        config=settings,
        weights=weights,
        classes=images.classes,
        image_ids=images.ids,
    )
    identity['tags'] = digest_json(images.tags)
    return identity


def half_precision(config: Config) -> bool:
    """Return whether mmengine's ``test_cfg.fp16`` asks for autocast in testing."""
    return bool((config.get('test_cfg') or {}).get('fp16'))


def generate_seeds(
    config: Config, checkpoint: str, images: TaggedImages, folder: str | Path
) -> ArtefactStore[SeedRecord]:
    """Localize the tags of all images with a trained classifier.

    Complete and sound records of an earlier run stay, their images are not read.

    Args:
        config: Config of the classifier with a ``seed_dataloader``.
        checkpoint: The classifier's weights.
        images: Of ``load_tagged_images`` for the same config.
        folder: Where the records go.

    Returns:
        The finished store.

    Raises:
        WSSSError: if something is missing, does not fit or cannot be written.
    """
    model = load_classifier(config, checkpoint)
    identity = seed_origin(config, lasting_weights(model), images)
    store = ArtefactStore.create(folder, SeedCodec(), identity)
    pending = share_of_pending(store, images.ids)
    names = dict(source=checkpoint, task='Seeds')
    for name, sample in predict_images(config, model, images, pending, **names):
        store.write(name, SeedRecord.from_sample(sample))
    finish_store(store, images.ids)
    return store


def predict_images(
    config: Config,
    model: WSSSClassifier,
    images: TaggedImages,
    ids: list[str],
    *,
    source: str,
    task: str,
) -> Iterator[tuple[str, WSSSDataSample]]:
    """Yield the model's prediction for each of these images by its id.

    Args:
        config: Config with a ``seed_dataloader``.
        model: In evaluation mode.
        images: Of ``load_tagged_images`` for the same config.
        ids: Images to predict, in this order.
        source: What the weights are, for messages.
        task: Word for the progress.

    Raises:
        CheckpointError: if a map is not finite.
        DataError: if an image cannot be read.
    """
    if not ids:
        return
    loader = loader_of(config, images, ids)
    names = iter(ids)
    for batch in track(loader, task, total=len(loader)):
        with torch.no_grad(), autocast(enabled=half_precision(config)):
            samples = model.test_step(batch)
        # the shorter one first: zip would draw a name too many from the other
        for sample, name in zip(samples, names):
            _check_finite(sample, name, source)
            yield name, sample


def _check_finite(sample: WSSSDataSample, name: str, source: str) -> None:
    if not bool(sample.localization.data.isfinite().all()):
        raise CheckpointError(
            f'{source} gives maps of {name} that are not finite, as a training '
            'that diverged leaves them: use an earlier checkpoint, or train with a '
            'smaller learning rate'
        )


def loader_of(config: Config, images: TaggedImages, ids: list[str]) -> DataLoader:
    """Return a loader of just these images, in this order."""
    index = {name: number for number, name in enumerate(images.ids)}
    settings: dict[str, Any] = {'batch_size': 1, **config[LOADER]}
    settings.update(dataset=images.dataset, sampler=[index[name] for name in ids])
    return Runner.build_dataloader(settings)
