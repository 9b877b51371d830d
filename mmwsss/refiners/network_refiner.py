"""Pseudo labels by a walk along the affinities that a trained network gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from mmengine.registry import DefaultScope
from numpy.typing import NDArray
from torch import Tensor, nn

from mmwsss.functional.refinement.background import background_by_power
from mmwsss.functional.refinement.label_band import label_with_band
from mmwsss.functional.refinement.random_walk import planes_from_grid
from mmwsss.refiners.base import IGNORED_LABEL, Refiner, check_band
from mmwsss.registry import MODELS
from mmwsss.utils.checkpoint import find_checkpoint, read_checkpoint
from mmwsss.utils.config_files import read_config_file
from mmwsss.utils.digests import digest_json, digest_tensors
from mmwsss.utils.errors import CheckpointError, ConfigError

STARTS = ('pretrained', 'init_cfg')
"""Settings of a network that say where its training started."""
KEPT_NETWORKS = 2
"""Networks that a process keeps loaded."""


class Source(NamedTuple):
    """Files of a trained network, told apart when they change."""

    config: Path
    checkpoint: Path
    stamps: tuple[tuple[int, int], ...]
    """Time and size of each."""


@dataclass(frozen=True, kw_only=True)
class NetworkRefiner(Refiner):
    """Spreads maps by a random walk along the affinities of a trained network.

    The background is a plane of its own, ``(1 - max_c) ** alpha``, that walks with the
    classes, or, with ``background_threshold``, a score that the walked maps, divided
    by their largest value in the image, must exceed.

    The network is loaded where and when it is first used, so that a refiner can be
    handed to other processes. On the processor it runs in one thread, since
    convolutions round differently in several: any number of processes gives the same
    labels.

    Attributes:
        network: Type of the network, an ``AffinityNetwork``.
        background: Name and value of the background's score where none is set.

    Args:
        config: Config with which the network was trained.
        checkpoint: Its weights, or the work directory of its training.
        exponent: Power of the affinities in the walk.
        steps: Of the walk.
        alpha: Power of the background.
        background_threshold: Score of the background in [0, 1], in place of a power.
        foreground_threshold: Scores above this are foreground and those between both
            thresholds undecided; without it nothing is undecided.

    Raises:
        ConfigError: if config or checkpoint are not named, a value is not usable, or
            the background is scored in both ways.
        CheckpointError: if there is no checkpoint.
    """

    network: ClassVar[str]
    background: ClassVar[tuple[str, float]] = ('alpha', 16.0)

    config: str = ''
    checkpoint: str = ''
    exponent: float = 8.0
    steps: int = 256
    alpha: float | None = None
    background_threshold: float | None = None
    foreground_threshold: float | None = None

    def __post_init__(self) -> None:
        self.source()
        if not self.exponent > 0 or self.steps < 0:
            raise ConfigError(
                'refiner: expected exponent > 0 and steps >= 0, got '
                f'{self.exponent} and {self.steps}'
            )
        if self.alpha is None and self.background_threshold is None:
            object.__setattr__(self, *self.background)
        if self.background_threshold is None:
            self._check_power()
        elif self.alpha is not None:
            raise ConfigError(
                'refiner: the background is scored by background_threshold or by '
                'alpha, not by both: leave one out'
            )
        else:
            check_band(self.background_threshold, self.foreground_threshold)

    def _check_power(self) -> None:
        if self.foreground_threshold is not None:
            raise ConfigError(
                'refiner.foreground_threshold stands beside a background_threshold, '
                'which is not given'
            )
        if self.alpha is None or not self.alpha > 0:
            raise ConfigError(f'refiner.alpha: expected > 0, got {self.alpha}')

    def source(self) -> Source:
        """Return the files of the network.

        Raises:
            ConfigError: if they are not named or there is no such config.
            CheckpointError: if there is no checkpoint.
        """
        remedy = (
            f'name config and checkpoint of the training of {self.network}: '
            '--cfg-options refiner.config=FILE refiner.checkpoint=WORK_DIR'
        )
        if not self.config or not self.checkpoint:
            raise ConfigError(f'{type(self).__name__} runs a trained network; {remedy}')
        if not Path(self.config).is_file():
            raise ConfigError(f'refiner.config: no file {self.config}; {remedy}')
        files = Path(self.config), find_checkpoint(self.checkpoint)
        stamps = tuple((f.stat().st_mtime_ns, f.stat().st_size) for f in files)
        return Source(*files, stamps)

    def settings(self) -> dict[str, Any]:
        """Return the type's name and all settings.

        Digests of the network's settings and weights stand in place of their files.

        Raises:
            CheckpointError: if the checkpoint cannot be read.
        """
        settings = super().settings()
        del settings['config'], settings['checkpoint']
        return settings | digests(self.source())

    def refine(
        self, maps: Tensor, image: NDArray[np.uint8], tags: Sequence[int]
    ) -> Tensor:
        """Return the label (H, W) by the walked maps.

        Raises:
            ConfigError: if the config is of another network.
            CheckpointError: if the checkpoint cannot be read or does not fit.
        """
        if not tags:
            return maps.new_zeros(maps.shape[1:], dtype=torch.int64)
        if self.alpha is not None:
            background = background_by_power(maps, self.alpha)
            labels = torch.tensor([0, *(tag + 1 for tag in tags)], device=maps.device)
            return labels[self.walk(torch.cat([background, maps]), image).argmax(0)]
        # without a power there is a threshold
        low: Any = self.background_threshold
        high = self.foreground_threshold
        scores = self.walk(maps, image)
        largest = scores.max().clamp(min=torch.finfo(scores.dtype).tiny)
        return label_with_band(
            scores / largest,
            tags,
            background_threshold=low,
            foreground_threshold=low if high is None else high,
            ignore_index=IGNORED_LABEL,
        )

    @torch.no_grad()
    def walk(self, planes: Tensor, image: NDArray[np.uint8]) -> Tensor:
        """Return planes that have walked along the image's affinities.

        Args:
            planes: (K, H, W) float32.
            image: (H, W, 3) RGB.

        Returns:
            (K, H, W).
        """
        network: Any = load_network(self.source(), self.network, planes.device)
        # networks read images in OpenCV's order, as the data sets load them
        pixels = torch.from_numpy(np.ascontiguousarray(image[..., ::-1]))
        batch = dict(inputs=[pixels.permute(2, 0, 1)])
        with one_thread(planes.device):
            images = network.data_preprocessor(batch, False)['inputs']
            walked = network.refine_planes(
                planes, images, exponent=self.exponent, steps=self.steps
            )
        return planes_from_grid(walked, network.stride, image.shape[:2])


@contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """Compute on the processor in one thread; other devices are left alone."""
    threads = torch.get_num_threads()
    if device.type == 'cpu':
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@lru_cache(KEPT_NETWORKS)
def digests(source: Source) -> dict[str, str]:
    """Return digests of what a network's answers rest on.

    Raises:
        CheckpointError: if the checkpoint cannot be read.
    """
    settings = _without_starts(read_config_file(source.config).model.to_dict())
    return dict(
        network=digest_json(settings), weights=digest_tensors(read_weights(source))
    )


def _without_starts(settings: Any) -> Any:
    if isinstance(settings, Mapping):
        kept = {name: value for name, value in settings.items() if name not in STARTS}
        return {name: _without_starts(value) for name, value in kept.items()}
    if isinstance(settings, (list, tuple)):
        return [_without_starts(value) for value in settings]
    return settings


@lru_cache(KEPT_NETWORKS)
def load_network(source: Source, kind: str, device: torch.device) -> nn.Module:
    """Return a trained network, ready to be asked for affinities.

    Args:
        source: Its files.
        kind: Name of its type.
        device: Where it runs.

    Raises:
        ConfigError: if the config is of another network.
        CheckpointError: if the checkpoint cannot be read or does not fit.
    """
    config = read_config_file(source.config)
    with DefaultScope.overwrite_default_scope(config.get('default_scope') or 'mmwsss'):
        model = MODELS.build(config.model)
    if kind not in [parent.__name__ for parent in type(model).__mro__]:
        raise ConfigError(
            f'refiner.config: {source.config} is of a {type(model).__name__}, expected '
            f'a {kind}; name the config that the network was trained with'
        )
    weights, own = read_weights(source), model.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        there, here = (
            tuple(state[name].shape) if name in state else 'absent'
            for state in (weights, own)
        )
        if there != here:
            raise CheckpointError(
                f'{source.checkpoint} does not fit the {kind} of {source.config}: '
                f'{name} is {there} there and {here} here; name the config that it was '
                'trained with'
            )
    model.load_state_dict(weights)
    return model.to(device).eval()


def read_weights(source: Source) -> dict[str, Tensor]:
    """Return a network's weights by name.

    Raises:
        CheckpointError: if the checkpoint cannot be read or holds other things.
    """
    content = read_checkpoint(source.checkpoint)
    state = content.get('state_dict', content)
    weights = {str(name).removeprefix('module.'): w for name, w in state.items()}
    if not all(isinstance(weight, Tensor) for weight in weights.values()):
        raise CheckpointError(
            f'{source.checkpoint} holds no weights of a network; name a checkpoint of '
            'its training'
        )
    return weights
