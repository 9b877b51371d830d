"""Samples of a config's data set as the network sees them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmwsss.apis.view_inversion import invert_tokens
from mmwsss.datasets.palette import class_palette
from mmwsss.registry import DATA_SAMPLERS, DATASETS, MODELS
from mmwsss.structures import WSSSDataSample
from mmwsss.utils.errors import ConfigError, DataError
from mmwsss.utils.randomness import StepDraws
from mmwsss.visualization.browsing import SeenSample, SeenView
from mmwsss.visualization.examples import Painter
from mmwsss.visualization.overlays import IGNORED_LABEL, Pixels

LOADERS = ('train', 'val', 'test', 'seed')
MAX_VALUE = 255


@dataclass(frozen=True)
class Place:
    """Where a sample comes in the first pass over the data."""

    index: int
    """Its index, with the key of its draws where the sampler counts."""
    iteration: int
    """From 0, with one process."""


class NetworkEyes:
    """What a config's preprocessor and second view make of a split's samples.

    Images are those of a training's first pass with the config's seed and one process,
    draw for draw.

    Args:
        config: With ``model`` and the split's ``*_dataloader``.
        split: One of ``LOADERS``; second views are made of ``train`` alone.

    Raises:
        ConfigError: if the config has no such loader, or no preprocessor.
    """

    def __init__(self, config: Config, split: str) -> None:
        init_default_scope(config.get('default_scope') or 'mmwsss')
        loader = _loader_of(config, split)
        model = config.get('model') or ConfigDict()
        if not model.get('data_preprocessor'):
            raise ConfigError(
                'the config has no model.data_preprocessor, which says what the '
                'network is given; add one'
            )
        self.dataset = DATASETS.build(loader.dataset)
        self.training = split == 'train'
        self.seed = int((config.get('randomness') or {}).get('seed') or 0)
        self.places = first_pass(loader, self.dataset, seed=self.seed)
        self.model = None
        if self.training and model.get('view'):
            self.model = MODELS.build(model)
        self.preprocessor = MODELS.build(model.data_preprocessor)
        self.colours = Colours(self.preprocessor)

    def __len__(self) -> int:
        return len(self.dataset)

    def painter(self) -> Painter:
        """Return who draws in the data set's class names and colours."""
        classes = self.dataset.metainfo['classes']
        palette = self.dataset.metainfo.get('palette') or class_palette(len(classes))
        return Painter(classes, palette)

    def see(self, index: int) -> SeenSample:
        """Read a sample of the data set.

        Raises:
            DataError: if a file cannot be read, a label is of no class, or the image
                cannot be cut into patches.
        """
        place = self.places.get(index, Place(index, 0))
        batch = pseudo_collate([self.dataset[place.index]])
        batch = self.preprocessor(batch, self.training)
        inputs, (sample,) = batch['inputs'], batch['data_samples']
        image = self.colours.pixels(inputs[0])
        path = str(sample.get('img_path', index))
        labels = self._labels(sample, image, path)
        view = None
        if self.model is not None:
            draws = StepDraws(self.seed, place.iteration, (index,))
            view = see_view(self.model, inputs, draws, self.colours)
        return SeenSample(
            index, self._name(path), tags_of(sample, labels), image, labels, view
        )

    def _name(self, path: str) -> str:
        named = hasattr(self.dataset, 'image_id')
        return self.dataset.image_id(path) if named else Path(path).stem

    def _labels(
        self, sample: WSSSDataSample, image: Pixels, path: str
    ) -> Pixels | None:
        if 'gt_sem_seg' not in sample:
            return None
        mask = sample.gt_sem_seg.data[0].cpu().numpy()
        count = len(self.dataset.metainfo['classes'])
        unknown = mask[(mask >= count) & (mask != IGNORED_LABEL)]
        if len(unknown):
            raise DataError(
                f'the mask of {path} holds {unknown.min()}, the classes are '
                f'0..{count - 1} and {IGNORED_LABEL} is not judged; correct it '
                '(tools/check_dataset.py finds all of them)'
            )
        height, width = image.shape[:2]
        shape = tuple(sample.get('img_shape', (height, width))[:2])
        return fit_labels(mask.astype(np.uint8), shape, (height, width))


def _loader_of(config: Config, split: str) -> ConfigDict:
    existing = [name for name in LOADERS if config.get(f'{name}_dataloader')]
    if split not in existing:
        raise ConfigError(
            f'--split {split}: the config has no {split}_dataloader; it has '
            f'{", ".join(existing) or "none at all"}'
        )
    return config[f'{split}_dataloader']


def first_pass(loader: ConfigDict, dataset: Any, *, seed: int) -> dict[int, Place]:
    """Return where each sample comes in the first pass of one process, by its index.

    Args:
        loader: Config of a data loader; without a sampler its order is the data set's.
        dataset: The data set.
        seed: The run's.
    """
    order: Any = range(len(dataset))
    if loader.get('sampler'):
        defaults = dict(dataset=dataset, seed=seed)
        order = DATA_SAMPLERS.build(loader.sampler, default_args=defaults)
    batch_size = int(loader.get('batch_size') or 1)
    return {
        int(index): Place(index, place // batch_size)
        for place, index in enumerate(islice(order, len(dataset)))
    }


def choose_indices(
    length: int, *, start: int, count: int, shuffle: int | None = None
) -> list[int]:
    """Return the indices of a page: ``count`` from ``start`` on, as far as they go.

    Args:
        length: Samples of the data set.
        start: From 0.
        count: At most so many.
        shuffle: Seed of a random order to page through; None keeps the data set's.

    Raises:
        ConfigError: if no sample is in the range.
    """
    if count < 1 or not 0 <= start < length:
        raise ConfigError(
            f'--start {start} --count {count}: no image is there, the split has '
            f'{length} (0..{length - 1})'
        )
    order = list(range(length))
    if shuffle is not None:
        random.Random(shuffle).shuffle(order)
    return order[start : start + count]


class Colours:
    """The way back from a network's input to colours.

    Found by giving a preprocessor black and the three primaries, so that it holds for
    any that changes colours linearly, whatever it calls its settings.

    Args:
        preprocessor: Of images in mmcv's BGR.
    """

    def __init__(self, preprocessor: nn.Module) -> None:
        primaries = torch.cat([torch.zeros(1, 3), MAX_VALUE * torch.eye(3)])
        probes = dict(
            inputs=list(primaries.to(torch.uint8)[..., None, None]),
            data_samples=[WSSSDataSample() for _ in primaries],
        )
        seen = preprocessor(probes, False)['inputs'][:, :, 0, 0].double().cpu()
        self.black = seen[0]
        self.inverse = torch.linalg.pinv((seen[1:] - seen[0]).T / MAX_VALUE)

    def pixels(self, image: Tensor) -> Pixels:
        """Return the RGB (H, W, 3) of a network's input (3, H, W)."""
        values = image.detach().cpu().double().permute(1, 2, 0) - self.black
        levels = (values @ self.inverse.T).round().clamp(0, MAX_VALUE)
        return np.ascontiguousarray(levels.to(torch.uint8).numpy()[..., ::-1])


def see_view(
    model: Any, inputs: Tensor, draws: StepDraws, colours: Colours
) -> SeenView:
    """Make a classifier's second view of an image and move its tokens back.

    Args:
        model: With ``view`` and ``backbone`` as ``ACRClassifier`` has them.
        inputs: (1, 3, H, W), normalized.
        draws: Of the step and the image.
        colours: The way back to colours.

    Raises:
        DataError: if a side is not a multiple of the patch size.
    """
    model.backbone.grid(inputs)
    stride = model.backbone.stride
    second, restore = model.view(inputs, stride=stride, draws=draws)
    image, view = (colours.pixels(batch[0]) for batch in (inputs, second))
    first, moved = (torch.from_numpy(p).permute(2, 0, 1) for p in (image, view))
    found = invert_tokens(first, moved, restore, stride=stride)
    tokens = found.tokens.round().to(torch.uint8).numpy()
    large = np.ones((stride, stride))
    return SeenView(
        view,
        tokens.repeat(stride, 0).repeat(stride, 1),
        np.kron(found.difference.numpy(), large),
        found.unmoved,
    )


def tags_of(sample: WSSSDataSample, labels: Pixels | None) -> tuple[int, ...] | None:
    """Return a sample's tags, else the foreground classes of its labels (H, W)."""
    if 'gt_label' in sample:
        return tuple(sample.gt_label.tolist())
    if labels is None:
        return None
    found = np.unique(labels).tolist()
    return tuple(label - 1 for label in found if label not in (0, IGNORED_LABEL))


def fit_labels(
    mask: Pixels, shape: Sequence[int], input_shape: tuple[int, int]
) -> Pixels:
    """Bring a mask to the network's input, which it may have been left behind by.

    Masks for measuring keep the photograph's size; padding is undecided.

    Args:
        mask: (h, w).
        shape: (height, width) of the image within the input.
        input_shape: (H, W), padding at the right and the bottom included.

    Returns:
        (H, W).
    """
    if mask.shape == input_shape:
        return mask
    rows, columns = (
        (np.arange(size) * own) // size for size, own in zip(shape, mask.shape)
    )
    labels = np.full(input_shape, IGNORED_LABEL, np.uint8)
    labels[: shape[0], : shape[1]] = mask[rows[:, None], columns]
    return labels
