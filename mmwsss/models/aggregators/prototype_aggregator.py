"""Aggregation of class prototypes at each pixel."""

from __future__ import annotations

import torch
from mmengine.dist import broadcast, get_rank
from torch import Tensor, nn

from mmwsss.functional.aggregation import aggregate
from mmwsss.functional.clustering import INITS, kmeans
from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError


@MODELS.register_module()
class PrototypeAggregator(nn.Module):
    """Join to each pixel the prototypes that resemble it (RCA, eqs. 7-9).

    Prototypes are the centres of each class's region memory, found anew by
    ``refresh``, which ``PrototypeRefreshHook`` calls. A class takes part from the
    first time that its memory holds enough for them; before any does, what is joined
    is 0.

    Args:
        num_classes: C, foreground classes.
        channels: D, of a prototype.
        num_prototypes: P, prototypes a class.
        scale: Factor on the similarities; ``sqrt`` is 1 / sqrt(D).
        unit_rows: Whether similarities are cosines.
        spherical: Whether clusters are of directions instead of points.
        init: Start of K-means, ``k-means++`` or ``farthest``.

    Raises:
        ConfigError: if a value is out of range.
    """

    prototypes: Tensor
    ready: Tensor
    refreshes: Tensor

    def __init__(
        self,
        num_classes: int,
        channels: int,
        *,
        num_prototypes: int = 10,
        scale: float | str = 1.0,
        unit_rows: bool = False,
        spherical: bool = False,
        init: str = 'k-means++',
    ) -> None:
        super().__init__()
        if min(num_classes, channels, num_prototypes) < 1:
            raise ConfigError(
                'num_classes, channels and num_prototypes must be at least 1, got '
                f'{num_classes}, {channels} and {num_prototypes}'
            )
        if scale == 'sqrt':
            scale = channels**-0.5
        if isinstance(scale, str) or scale <= 0:
            raise ConfigError(f"scale must be positive or 'sqrt', got {scale!r}")
        if init not in INITS:
            raise ConfigError(f'init: expected one of {INITS}, got {init!r}')
        self.scale, self.unit_rows = float(scale), unit_rows
        self.spherical, self.init = spherical, init
        shape = num_classes, num_prototypes, channels
        self.register_buffer('prototypes', torch.zeros(shape))
        self.register_buffer('ready', torch.zeros(num_classes, dtype=torch.bool))
        self.register_buffer('refreshes', torch.zeros((), dtype=torch.int64))

    def out_channels(self, feature_channels: int) -> int:
        """Return the channels of ``forward`` for features of so many."""
        return feature_channels + self.prototypes.shape[2]

    def forward(self, features: Tensor, query: Tensor | None = None) -> Tensor:
        """Join features and context.

        Args:
            features: (B, F, H, W).
            query: (B, D, H, W), what is compared with prototypes, in their space;
                None takes the features.

        Returns:
            (B, F + D, H, W).

        Raises:
            ConfigError: if the query has other channels than the prototypes.
        """
        query = features if query is None else query
        self._check_channels('query', query.shape[1])
        context = aggregate(
            query,
            self.prototypes,
            self.ready,
            scale=self.scale,
            unit_rows=self.unit_rows,
        )
        return torch.cat([features, context.to(features.dtype)], 1)

    @torch.no_grad()
    def refresh(
        self, rows: Tensor, valid: Tensor, *, generator: torch.Generator
    ) -> None:
        """Cluster a memory; classes with too few rows keep what they have.

        A collective: the first process clusters, all take its prototypes.

        Args:
            rows: (C, L, D), the memory's slots.
            valid: (C, L) bool, those that were ever visited.
            generator: On the CPU; key it by ``refreshes``, which counts these calls
                and is part of the checkpoint.

        Raises:
            ConfigError: if the memory has other classes or channels than the
                prototypes, or fewer slots than a class has prototypes.
        """
        self._check_memory(rows)
        if get_rank() == 0:
            clusters = kmeans(
                rows,
                valid,
                num_clusters=self.prototypes.shape[1],
                generator=generator,
                init=self.init,
                spherical=self.spherical,
            )
            found = clusters.ready[:, None, None]
            centres = clusters.centres.to(self.prototypes)
            self.prototypes.copy_(torch.where(found, centres, self.prototypes))
            self.ready |= clusters.ready
        broadcast(self.prototypes)
        broadcast(self.ready)
        self.refreshes += 1

    def _check_memory(self, rows: Tensor) -> None:
        num_classes, num_prototypes, _ = self.prototypes.shape
        classes, slots, channels = rows.shape
        self._check_channels('memory', channels)
        if classes != num_classes:
            raise ConfigError(
                f'{type(self).__name__} has {num_classes} classes, the memory '
                f"{classes}; set num_classes of both to the model's"
            )
        if slots < num_prototypes:
            raise ConfigError(
                f'{num_prototypes} prototypes a class cannot be found among {slots} '
                'slots; set memory.num_slots to more or aggregation.num_prototypes to '
                'fewer'
            )

    def _check_channels(self, name: str, channels: int) -> None:
        own = self.prototypes.shape[2]
        if channels != own:
            raise ConfigError(
                f'{type(self).__name__} has prototypes of {own} channels, the {name} '
                f'has {channels}; set channels of memory and aggregation to those of '
                'the features that are pooled'
            )
