"""What networks of pixel affinity share: dispatch, loss and the walk."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.functional.affinity_pairs import (
    PairTargets,
    half_disc_offsets,
    labels_on_grid,
    pair_affinity_loss,
    pair_targets,
)
from mmwsss.functional.refinement.random_walk import planes_on_grid, random_walk
from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError, DataError


class AffinityNetwork(BaseModel, metaclass=ABCMeta):
    """A network that gives the affinity of near pixels, on a grid over the image.

    It learns from label maps with undecided pixels, such as pseudo labels: pixels of
    one label belong together, pixels of two do not.

    Args:
        backbone: Config of a network that gives a tuple of feature maps.
        stride: Side of a grid's cell in pixels.
        data_preprocessor: Config of the preprocessor.
        radius: Distance in cells below which pairs are taught.
        test_radius: Distance below which affinities are given; None is ``radius``.
        ignore_index: Label of undecided pixels.
        init_cfg: mmengine's initialization.

    Raises:
        ConfigError: if a radius is not above 1, or ``stride`` is below 1.
    """

    def __init__(
        self,
        *,
        backbone: dict,
        stride: int,
        data_preprocessor: dict | None = None,
        radius: float = 5,
        test_radius: float | None = None,
        ignore_index: int = 255,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        test_radius = radius if test_radius is None else test_radius
        if stride < 1 or min(radius, test_radius) <= 1:
            raise ConfigError(
                'model: expected stride >= 1, radius > 1 and test_radius > 1, got '
                f'{stride}, {radius} and {test_radius}'
            )
        self.backbone = MODELS.build(backbone)
        self.stride, self.ignore_index = stride, ignore_index
        self.train_offsets = half_disc_offsets(radius)
        self.offsets = half_disc_offsets(test_radius)

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample] | None = None,
        mode: str = 'tensor',
    ) -> dict[str, Tensor] | Tensor:
        """Dispatch to the loss or to affinities.

        Args:
            inputs: (B, 3, H, W), normalized.
            data_samples: One an image, with ``gt_sem_seg``; needed for ``loss``.
            mode: ``loss``, ``predict`` or ``tensor``.

        Returns:
            A dict of losses, or affinities (B, P, h, w).

        Raises:
            ConfigError: if ``mode`` is unknown.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples or [])
        if mode in ('predict', 'tensor'):
            return self.affinity(inputs)
        raise ConfigError(f"mode: expected 'loss', 'predict' or 'tensor', got {mode!r}")

    @abstractmethod
    def pair_affinity(
        self, images: Tensor, offsets: Sequence[tuple[int, int]]
    ) -> Tensor:
        """Return affinities (B, P, h, w) in [0, 1] of images (B, 3, H, W), normalized.

        The grid has ``ceil(H / stride)`` by ``ceil(W / stride)`` cells. What stands at
        a pair with an outside cell is not used.
        """

    def affinity(self, images: Tensor) -> Tensor:
        """Return affinities (B, P, h, w) in [0, 1] for the pairs of ``offsets``.

        Args:
            images: (B, 3, H, W), normalized.
        """
        return self.pair_affinity(images, self.offsets)

    def loss(
        self, inputs: Tensor, data_samples: list[SegDataSample]
    ) -> dict[str, Tensor]:
        """Return the loss of the pairs of ``train_offsets``.

        Args:
            inputs: (B, 3, H, W), normalized.
            data_samples: B samples with ``gt_sem_seg``.
        """
        affinity = self.pair_affinity(inputs, self.train_offsets)
        targets = self.targets(inputs, data_samples)
        return dict(loss_affinity=pair_affinity_loss(affinity, targets))

    def targets(
        self, inputs: Tensor, data_samples: Sequence[SegDataSample]
    ) -> PairTargets:
        """Return what the samples' labels say of the pairs of ``train_offsets``."""
        labels = self.grid_labels(inputs, data_samples)
        return pair_targets(labels, self.train_offsets, ignore_index=self.ignore_index)

    def grid_labels(
        self, inputs: Tensor, data_samples: Sequence[SegDataSample]
    ) -> Tensor:
        """Return the samples' labels on the grid, (B, h, w).

        Args:
            inputs: (B, 3, H, W); where it is larger than a sample's label, by padding
                on the right and at the bottom, the label is undecided.
            data_samples: B samples with ``gt_sem_seg``.

        Raises:
            DataError: if a sample has no label, or one that is larger than the image.
        """
        height, width = inputs.shape[-2:]
        labels = []
        for sample in data_samples:
            path = sample.get('img_path', 'an image given as an array')
            if 'gt_sem_seg' not in sample:
                raise DataError(
                    f'{path}: affinity is learned from labels; put LoadMask into '
                    'train_dataloader.dataset.pipeline'
                )
            label = sample.gt_sem_seg.data.squeeze(0).long()
            missing = (0, width - label.shape[1], 0, height - label.shape[0])
            if min(missing) < 0:
                raise DataError(
                    f'{path}: the label is {tuple(label.shape)}, the image '
                    f'{(height, width)} (height, width); transforms must change both'
                )
            labels.append(F.pad(label, missing, value=self.ignore_index))
        stacked = torch.stack(labels).to(inputs.device)
        return labels_on_grid(stacked, self.stride, ignore_index=self.ignore_index)

    def refine_planes(
        self, planes: Tensor, images: Tensor, *, exponent: float, steps: int
    ) -> Tensor:
        """Spread planes of an image by a random walk along its affinities.

        Args:
            planes: (K, H, W) float, scores at the image's size.
            images: (1, 3, H', W'), normalized; H' >= H and W' >= W by padding on the
                right and at the bottom, which the walk does not enter.
            exponent: Power of the affinities.
            steps: Of the walk.

        Returns:
            (K, ceil(H / stride), ceil(W / stride)).
        """
        seeds = planes_on_grid(planes, self.stride)
        height, width = seeds.shape[1:]
        affinity = self.affinity(images)[0, :, :height, :width]
        return random_walk(
            seeds, affinity, self.offsets, exponent=exponent, steps=steps
        )
