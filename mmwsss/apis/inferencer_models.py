"""What the inferencer loads: a trained model, its pipeline and its classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DATASETS, MODELS, TRANSFORMS
from mmseg.models import BaseSegmentor
from torch import nn

from mmwsss.apis.launch import check_fits
from mmwsss.datasets.palette import class_palette
from mmwsss.models.classifiers.base import WSSSClassifier
from mmwsss.utils.checkpoint import read_checkpoint
from mmwsss.utils.config_files import read_config_file
from mmwsss.utils.errors import ConfigError
from mmwsss.utils.packaged_files import find_config
from mmwsss.visualization.examples import Painter

LOADERS = ('seed_dataloader', 'test_dataloader', 'val_dataloader')
"""Whose pipeline images go through, the first that the config has."""
LEFT_OUT = frozenset(
    {'CountedRandomness', 'LoadImage', 'LoadImageFromFile'}
    | {'LoadMask', 'LoadAnnotations', 'TagsFromMask'}
)
"""Transforms that need files of a data set."""


def read_model_config(model: str | Path | Config | Mapping[str, Any]) -> Config:
    """Return a config given by its file, its name in the package, or itself.

    Raises:
        ConfigError: if there is none, or it cannot be read.
    """
    if isinstance(model, Config):
        return model
    if isinstance(model, Mapping):
        return Config(dict(model))
    return read_config_file(find_config(model))


def load_model(config: Config, checkpoint: str, device: str | None) -> nn.Module:
    """Build a classifier or a segmentor with its weights, ready to predict.

    Args:
        config: In whose scope this is called.
        checkpoint: File.
        device: Where it goes.

    Raises:
        ConfigError: if it is a model of another kind.
        CheckpointError: if the checkpoint cannot be read or belongs to another model.
    """
    model = MODELS.build(config.model)
    if not isinstance(model, (WSSSClassifier, BaseSegmentor)):
        raise ConfigError(
            f'the config is of a {type(model).__name__}; inference runs classifiers '
            'and segmentors (a network of affinities is named as a refiner: '
            "dict(type='psa', config=..., checkpoint=...))"
        )
    model.load_state_dict(check_fits(checkpoint, model, whole=True))
    return model.to(device).eval()


def pipeline_of(config: Config) -> Compose:
    """Build what brings a decoded image to the network.

    Args:
        config: In whose scope this is called.

    Raises:
        ConfigError: if it has none of ``LOADERS``.
    """
    loaders = [config[name] for name in LOADERS if config.get(name)]
    if not loaders:
        raise ConfigError(
            f'the config has none of {", ".join(LOADERS)}, whose pipeline says how '
            'images are resized; add one'
        )
    kept = [t for t in loaders[0].dataset.pipeline if _name(t) not in LEFT_OUT]
    return Compose([TRANSFORMS.build(transform) for transform in kept])


def usable_device(device: str | None) -> str | None:
    """Try a device and return it; None is left to others to choose.

    Raises:
        ConfigError: if it cannot be used here.
    """
    if device is not None:
        try:
            torch.empty(1, device=device)
        # torch without CUDA asserts
        except (RuntimeError, AssertionError) as error:
            reason = str(error).split('\n')[0]
            raise ConfigError(
                f'device {device!r} cannot be used here ({reason}); choose cpu, or '
                'leave the choice to mmwsss'
            ) from error
    return device


def painter_of(
    model: Any, config: Config, checkpoint: str, classes: Sequence[str] | None
) -> Painter:
    """Return who draws in the names and colours of a trained model's classes.

    Args:
        model: A classifier or a segmentor.
        config: Its config, in whose scope this is called.
        checkpoint: File, whose data set counts before the config's.
        classes: As of ``WSSSInferencer``.

    Raises:
        ConfigError: if no names are known, or not as many as classes.
    """
    meta = (read_checkpoint(checkpoint).get('meta') or {}).get('dataset_meta') or {}
    info = meta if meta.get('classes') else _metainfo(config)
    names = tuple(classes or info.get('classes') or ())
    count = int(model.num_classes) + isinstance(model, WSSSClassifier)
    remedy = f'give all {count} as classes=..., the background first'
    if not names:
        raise ConfigError(
            f'neither {checkpoint} nor the config names classes: {remedy}'
        )
    if len(names) != count:
        raise ConfigError(f'{len(names)} classes for a model of {count}: {remedy}')
    palette = info.get('palette') or []
    return Painter(names, palette if len(palette) == count else class_palette(count))


def _metainfo(config: Config) -> dict[str, Any]:
    """Return what a config's data sets say of their classes."""
    scope = config.get('default_scope') or 'mmwsss'
    for loader in LOADERS:
        dataset = (config.get(loader) or {}).get('dataset') or {}
        with DATASETS.switch_scope_and_registry(scope) as registry:
            kind = registry.get(dataset['type']) if 'type' in dataset else None
        info = {**getattr(kind, 'METAINFO', {}), **(dataset.get('metainfo') or {})}
        if info.get('classes'):
            return info
    return {}


def _name(transform: Any) -> str:
    """Return a transform's name without its scope."""
    kind = transform['type']
    return kind.rpartition('.')[2] if isinstance(kind, str) else kind.__name__
