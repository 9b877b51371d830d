"""What a model shows of itself while it trains."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mmwsss.structures.wsss_data_sample import WSSSDataSample


@dataclass(frozen=True, eq=False)
class PatchAttention:
    """Attention between the n patches of an image and of its second view.

    Args:
        first: (n, n), of the image.
        second: (n', n'), of the view in its own token order.
        restored: (n, n), of the view in the image's token order.
        difference: (n, n), distance of ``first`` and ``restored`` block by block.
    """

    first: Tensor
    second: Tensor
    restored: Tensor
    difference: Tensor


@dataclass(frozen=True, eq=False)
class ViewAttention:
    """Attention of an image and of its second view, head means, block by block.

    Args:
        view: (3, H', W'), the second view as the network is given it.
        grid: (gh, gw), patches of the image; n = gh gw.
        first: One (1 + n, 1 + n) a block, class token at index 0.
        second: One (1 + n', 1 + n') a block, of the view in its own token order.
        restored: The same in the image's token order, (1 + n, 1 + n).
    """

    view: Tensor
    grid: tuple[int, int]
    first: list[Tensor]
    second: list[Tensor]
    restored: list[Tensor]

    def between_patches(self) -> PatchAttention:
        """Return means over the blocks, float32 on the CPU, without the class token."""
        first, second, restored = (
            torch.stack([attention[1:, 1:].float().cpu() for attention in blocks])
            for blocks in (self.first, self.second, self.restored)
        )
        difference = (first - restored).abs()
        means = [part.mean(0) for part in (first, second, restored, difference)]
        return PatchAttention(*means)


@dataclass(frozen=True, eq=False)
class Observation:
    """What a classifier makes of one image.

    Args:
        image: (3, h, w) uint8 RGB, as the network sees it, without padding.
        inputs: (3, H, W), what the network is given: normalized, padded on the right
            and at the bottom.
        sample: Its prediction: tags, scores and localization maps.
        views: Of a classifier that compares two views.
    """

    image: Tensor
    inputs: Tensor
    sample: WSSSDataSample
    views: ViewAttention | None = None


@dataclass(frozen=True, eq=False)
class MemoryState:
    """What a memory bank and its prototypes hold.

    Args:
        features: (C, L, D), the slots of each class.
        valid: (C, L) bool, those that take part.
        prototypes: (C, P, D); None of a model without.
        ready: (C,) bool, classes that have prototypes; None of a model without.
    """

    features: Tensor
    valid: Tensor
    prototypes: Tensor | None = None
    ready: Tensor | None = None
