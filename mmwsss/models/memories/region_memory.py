"""A bank of region features that is the same on all processes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmwsss.functional.memory import write_regions_
from mmwsss.models.memories.region_batch import RegionBatch
from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError
from mmwsss.utils.randomness import Use, counted_generator

STARTS = ('zeros', 'normal')


@MODELS.register_module()
class RegionMemory(nn.Module):
    """Slots for each class that follow its regions' features (RCA, section 3.2).

    A region visits the slot at its class's pointer, which then advances and wraps; a
    visited slot moves by eq. 3, one never visited is replaced. Regions are staged
    during the loss and written between two iterations, by ``RegionMemoryHook``.

    Args:
        num_classes: C, foreground classes.
        channels: D, of a region feature.
        num_slots: L, slots a class.
        momentum: gamma of eq. 3, in [0, 1).
        score_gate: nu; a region enters if its class's probability exceeds it.
        init: What slots start as: ``zeros``, or ``normal``, standard normal numbers.
        valid_only: Whether slots count from their first visit on. With False all
            count from the start and none is replaced; the authors' release is
            ``init='normal', valid_only=False``.
        seed: Key of the normal numbers.

    Raises:
        ConfigError: if a value is out of range.
    """

    features: Tensor
    pointer: Tensor
    count: Tensor
    training_buffers = ('features', 'pointer', 'count')
    """Predictions do without them, so a published checkpoint may too."""

    def __init__(
        self,
        num_classes: int,
        channels: int,
        *,
        num_slots: int = 500,
        momentum: float = 0.99,
        score_gate: float = 0.7,
        init: str = 'zeros',
        valid_only: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(num_classes, channels, num_slots) < 1:
            raise ConfigError(
                'num_classes, channels and num_slots must be at least 1, got '
                f'{num_classes}, {channels} and {num_slots}'
            )
        if not 0 <= momentum < 1:
            raise ConfigError(f'momentum must be in [0, 1), got {momentum}')
        if init not in STARTS:
            raise ConfigError(f'init: expected one of {STARTS}, got {init!r}')
        self.momentum, self.score_gate = momentum, score_gate
        shape = num_classes, num_slots, channels
        features = torch.zeros(shape)
        if init == 'normal':
            features = torch.randn(shape, generator=counted_generator(Use.START, seed))
        visited = 0 if valid_only else num_slots
        self.register_buffer('features', features)
        self.register_buffer('pointer', torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer('count', torch.full((num_classes,), visited))
        self._staged: RegionBatch | None = None

    @property
    def valid(self) -> Tensor:
        """(C, L) bool, the slots that take part in anything."""
        slots = torch.arange(self.features.shape[1], device=self.count.device)
        return slots < self.count[:, None]

    def stage(self, regions: RegionBatch, scores: Tensor) -> None:
        """Keep regions whose score exceeds the gate until ``update``.

        Args:
            regions: Of this process's images, without those a sampler padded with.
            scores: (R,), each region's image-level probability of its class.

        Raises:
            ConfigError: if regions staged before were never written, or the regions
                are of other channels or classes than the memory.
        """
        if self._staged is not None:
            raise ConfigError(
                'RegionMemory: the regions of the last iteration were not written; '
                "add custom_hooks=[dict(type='RegionMemoryHook')] to the config"
            )
        num_classes, _, channels = self.features.shape
        if regions.features.shape[1:] != (channels,):
            raise ConfigError(
                f'RegionMemory has {channels} channels, its regions '
                f'{tuple(regions.features.shape[1:])}; set memory.channels to those '
                'of the features that are pooled'
            )
        kept = regions.detach().select(scores.detach() > self.score_gate)
        if len(kept.classes) and int(kept.classes.max()) >= num_classes:
            raise ConfigError(
                f'RegionMemory has {num_classes} classes, a region is of class '
                f"{int(kept.classes.max())}; set memory.num_classes to the model's"
            )
        self._staged = kept._replace(features=kept.features.to(self.features))

    @torch.no_grad()
    def update(self) -> int:
        """Write what all processes staged, by (position, class), and forget it.

        A collective: every process calls it, whether it has staged regions or not.

        Returns:
            How many regions were written.
        """
        staged = self._staged or RegionBatch.empty(self.features)
        self._staged = None
        regions = staged.gather()
        write_regions_(
            self.features,
            self.pointer,
            self.count,
            regions.features,
            regions.classes,
            momentum=self.momentum,
        )
        return len(regions.classes)
