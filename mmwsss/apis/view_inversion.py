"""A look at a second view's way back: its tokens, moved to the image's order."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SCALE = 2.0**-30
"""Of colours in attention; small, so that a way back that makes rows sum to 1 stays
linear, and a power of two, so that a permutation stays exact."""
MARK = 256.0
"""What the class token holds in place of a colour; tells by what rows were divided."""

WayBack = Callable[[Tensor], Tensor]


class Inversion(NamedTuple):
    """The tokens of a second view in the order of the image."""

    tokens: Tensor
    """(gh, gw, 3) in 0..255, mean colours of the patches that came to each place."""
    difference: Tensor
    """(gh, gw) in grey levels, to the image's own patches; the largest over channels,
    rows and columns of attention."""
    unmoved: float | None
    """Mean difference if tokens were not moved; None if their numbers differ."""

    @property
    def mean(self) -> float:
        """Mean difference in grey levels."""
        return float(self.difference.mean())

    @property
    def largest(self) -> float:
        """Largest difference in grey levels."""
        return float(self.difference.max())


def invert_tokens(
    image: Tensor, view: Tensor, restore: WayBack, *, stride: int
) -> Inversion:
    """Move the tokens of a view with the way back of its attention, and compare.

    The way back is applied to attention matrices that hold the patches' mean colours,
    in their columns and in their rows apart, so that it is seen to move both. A view
    that only moves patches differs by exactly 0.

    Args:
        image: (3, H, W) uint8, the first view.
        view: (3, H', W') uint8, the second.
        restore: Attention (1, N', N') of the view to (1, N, N) in the image's order.
        stride: Pixels along the side of a patch.

    Raises:
        ValueError: if ``restore`` gives another number of tokens than the image has.
    """
    own, seen = _patch_colours(image, stride), _patch_colours(view, stride)
    grid = own.shape[-2:]
    own, seen = own.flatten(1), seen.flatten(1)
    columns, rows = _by_columns(seen, restore), _by_rows(seen, restore)
    if columns.shape != own.shape:
        raise ValueError(
            f'restore: expected {own.shape[1]} tokens of the image, got '
            f'{columns.shape[1]}'
        )
    worse = torch.maximum((columns - own).abs(), (rows - own).abs()).amax(0)
    unmoved = None
    if seen.shape == own.shape:
        unmoved = float((seen - own).abs().amax(0).mean())
    tokens = columns.clamp(0, 255).unflatten(1, grid).permute(1, 2, 0)
    return Inversion(tokens, worse.view(grid), unmoved)


def _patch_colours(image: Tensor, stride: int) -> Tensor:
    # Sums of whole numbers are exact in any order, so a mirrored patch has its mean.
    return F.avg_pool2d(image.double(), stride)


def _by_columns(colours: Tensor, restore: WayBack) -> Tensor:
    """Move colours (3, N') that each row of attention holds."""
    tokens = F.pad(colours, (1, 0), value=1.0)
    attention = tokens[:, None].expand(-1, tokens.shape[1], -1)
    row = _restore_each(attention, restore)[:, 0]
    return row[:, 1:] / row[:, :1]


def _by_rows(colours: Tensor, restore: WayBack) -> Tensor:
    """Move colours (3, N') that the first column of attention holds; rows sum to 1."""
    share = F.pad(colours, (1, 0), value=MARK)[..., None] * SCALE
    count = colours.shape[1]
    attention = torch.cat([share, ((1 - share) / count).expand(-1, -1, count)], -1)
    column = _restore_each(attention, restore)[:, :, 0]
    return column[:, 1:] / column[:, :1] * MARK


def _restore_each(attention: Tensor, restore: WayBack) -> Tensor:
    return torch.cat([restore(channel[None]) for channel in attention])
