"""The aggregation of RCA's release."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmwsss.functional.aggregation import released_affinity, weighted_context
from mmwsss.models.aggregators.prototype_aggregator import PrototypeAggregator
from mmwsss.registry import MODELS


@MODELS.register_module()
class ReleasedAggregator(PrototypeAggregator):
    """Aggregation with learned layers and without softmax, as RCA was released.

    ``S = q k^T C / P``, ``F' = S v``, output ``U [F, W F']``, with q of the features,
    k and v of the prototypes. Prototypes of classes that are not ready count as 0 in
    S, so that every parameter has a gradient at any time, as DDP asks for.

    Args:
        num_classes: C, foreground classes.
        channels: D, of a prototype, of the features and of the output.
        num_prototypes: P, prototypes a class.
        spherical: Whether clusters are of directions instead of points.
        init: Start of K-means, ``k-means++`` or ``farthest``.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int,
        *,
        num_prototypes: int = 10,
        spherical: bool = False,
        init: str = 'k-means++',
    ) -> None:
        super().__init__(
            num_classes,
            channels,
            num_prototypes=num_prototypes,
            spherical=spherical,
            init=init,
        )
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.context = nn.Conv2d(channels, channels, 1)
        self.output = nn.Conv2d(2 * channels, channels, 1)

    def out_channels(self, feature_channels: int) -> int:
        """Return D; features have as many."""
        self._check_channels('feature', feature_channels)
        return feature_channels

    def forward(self, features: Tensor, query: Tensor | None = None) -> Tensor:
        """Join features and context.

        Args:
            features: (B, D, H, W).
            query: (B, D, H, W), what is compared with prototypes; None takes the
                features.

        Returns:
            (B, D, H, W).

        Raises:
            ConfigError: if features or query have other channels than the prototypes.
        """
        query = features if query is None else query
        self._check_channels('feature', features.shape[1])
        self._check_channels('query', query.shape[1])
        context = self._aggregate(self.query(query))
        return self.output(torch.cat([features, self.context(context)], 1))

    def _aggregate(self, query: Tensor) -> Tensor:
        """Return F' (B, D, H, W)."""
        num_classes, num_prototypes, _ = self.prototypes.shape
        rows = self.prototypes.flatten(0, 1)
        affinity = released_affinity(
            query.flatten(2).transpose(1, 2),
            self.key(rows),
            num_classes=num_classes,
            num_prototypes=num_prototypes,
        )
        counts = self.ready.repeat_interleave(num_prototypes).to(affinity.dtype)
        size = query.shape[2], query.shape[3]
        context = weighted_context(affinity * counts, self.value(rows), size)
        return context.to(query.dtype)
