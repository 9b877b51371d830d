"""Regional semantic contrast: mixed regions against the memory bank."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from torch import Tensor, nn

from mmwsss.functional.contrast import average_over_images, mixup_nce
from mmwsss.models.memories.region_batch import RegionBatch
from mmwsss.models.memories.region_memory import RegionMemory
from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError
from mmwsss.utils.randomness import Use, counted_seed, training_step

REDUCTIONS = ('mean', 'sum')
STREAM = 1
"""Separates these draws from those of views within a step."""


@MODELS.register_module()
class RegionContrastLoss(nn.Module):
    """Region-mixup InfoNCE over the memory bank (RCA, eqs. 4-6).

    Partners are regions of another class anywhere in the global batch, of another
    image where there is one; they carry gradient, across processes too. A region
    without a partner is contrasted unmixed. Averaged over the processes, as
    distributed training averages gradients, the loss is that of the global batch.

    Args:
        loss_weight: Weight of the loss.
        temperature: Of the softmax over cosine similarities.
        beta: Both shapes of the Beta distribution of mixing weights.
        mixup: Whether regions are mixed.
        same_class: Whether a partner may be of the same class, or the region itself
            (the authors' release).
        reduction: ``mean`` over the images of the global batch, or their ``sum`` (the
            release), whose weight grows with the batch.

    Raises:
        ConfigError: if a value is not valid.
    """

    def __init__(
        self,
        *,
        loss_weight: float = 0.01,
        temperature: float = 0.07,
        beta: float = 8.0,
        mixup: bool = True,
        same_class: bool = False,
        reduction: str = 'mean',
    ) -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ConfigError(f'reduction: expected {REDUCTIONS}, got {reduction!r}')
        if min(temperature, beta) <= 0 or loss_weight < 0:
            raise ConfigError(
                'temperature and beta must be positive and loss_weight >= 0, got '
                f'{temperature}, {beta} and {loss_weight}'
            )
        self.loss_weight, self.temperature, self.beta = loss_weight, temperature, beta
        self.mixup, self.same_class, self.reduction = mixup, same_class, reduction

    def forward(
        self, regions: RegionBatch, memory: RegionMemory, *, num_images: int
    ) -> dict[str, Tensor]:
        """Contrast this process's regions.

        Args:
            regions: Of this process, with gradient.
            memory: The bank; read only.
            num_images: Images of the global batch.

        Returns:
            ``loss_contrast``, a weighted scalar.
        """
        everyone = regions.gather(differentiable=True)
        own = everyone.positions % get_world_size() == get_rank()
        partners, omega = self._draw(everyone, own)
        losses = mixup_nce(
            everyone.features[own],
            everyone.classes[own],
            everyone.features[partners],
            everyone.classes[partners],
            omega,
            memory.features,
            memory.valid,
            temperature=self.temperature,
        )
        loss = average_over_images(
            losses,
            everyone.positions[own],
            num_images=num_images,
            reduction=self.reduction,
        )
        return dict(loss_contrast=self.loss_weight * get_world_size() * loss)

    def _draw(self, regions: RegionBatch, own: Tensor) -> tuple[Tensor, Tensor]:
        """Draw each own region's partner, an index, and its mixing weight."""
        seed, iteration = training_step()
        classes = regions.classes.tolist()
        samples, images = regions.samples.tolist(), regions.positions.tolist()
        partners, omega = [], []
        for region in own.nonzero().flatten().tolist():
            key = (Use.IMAGE, seed, iteration, STREAM, samples[region], classes[region])
            draws = np.random.default_rng(counted_seed(*key))
            others = self._candidates(region, classes, images)
            partners.append(others[draws.integers(len(others))] if others else region)
            omega.append(draws.beta(self.beta, self.beta) if others else 1.0)
        features = regions.features
        return (
            torch.tensor(partners, dtype=torch.long, device=features.device),
            torch.tensor(omega, dtype=torch.float32, device=features.device),
        )

    def _candidates(
        self, region: int, classes: list[int], images: list[int]
    ) -> list[int]:
        if not self.mixup:
            return []
        if self.same_class:
            return list(range(len(classes)))
        others = [i for i, c in enumerate(classes) if c != classes[region]]
        return [i for i in others if images[i] != images[region]] or others
