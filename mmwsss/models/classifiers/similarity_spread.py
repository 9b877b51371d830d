"""Class maps spread to the places of an image that look alike."""

from __future__ import annotations

import torch
from torch import Tensor

from mmwsss.functional.attention import feature_affinity
from mmwsss.functional.localization import refine_with_affinity
from mmwsss.functional.vectors import full_precision, widen
from mmwsss.utils.errors import ConfigError


class SimilaritySpread:
    r"""Spread maps along the similarity of features (not a paper's).

    :math:`m \leftarrow S^k m`, then :math:`m - \min m`, with
    :math:`S = \mathrm{softmax}_j(\cos_{ij}/\tau)` of the features they are made of:
    ACR's eq. 9 without a transformer. What reaches every place of an image tells none
    apart and is taken off. An image of n places needs n^2 numbers.

    Args:
        temperature: :math:`\tau > 0`; the smaller, the fewer places count.
        steps: k >= 1.

    Raises:
        ConfigError: if a value is out of its range.
    """

    def __init__(self, *, temperature: float = 0.15, steps: int = 3) -> None:
        if temperature <= 0:
            raise ConfigError(f'temperature must be above 0, got {temperature}')
        if steps < 1:
            raise ConfigError(f'steps must be at least 1, got {steps}')
        self.temperature, self.steps = temperature, steps

    @torch.no_grad()
    def __call__(self, maps: Tensor, features: Tensor) -> Tensor:
        """Spread maps along features.

        Args:
            maps: (B, C, h, w), >= 0.
            features: (B, D, h, w), any scale.

        Returns:
            (B, C, h, w), >= 0 with minimum 0, float32 or wider.

        Raises:
            ValueError: if the shapes disagree.
        """
        patches = features.flatten(2).transpose(1, 2)
        spread = widen(maps).flatten(2)
        with full_precision(maps):
            affinity = feature_affinity(patches, temperature=self.temperature)
            affinity = affinity.to(spread.dtype)
            for _ in range(self.steps):
                spread = refine_with_affinity(spread, affinity)
        return (spread - spread.amin(-1, keepdim=True)).view(maps.shape)
