"""PAMR as its equations read: neighbours gathered dilation by dilation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def neighbours(planes: Tensor, dilation: int) -> Tensor:
    """Gather 3x3 neighbourhoods, (K, 9, H, W) of (K, H, W), the pixel in the midst."""
    count, height, width = planes.shape
    padded = F.pad(planes[None], [dilation] * 4, mode='replicate')
    columns = F.unfold(padded, 3, dilation=dilation)
    return columns.view(count, 9, height, width)


def refine(
    maps: Tensor,
    image: Tensor,
    dilations: Sequence[int],
    *,
    iterations: int,
    width: float = 0.1,
    eps: float = 1e-8,
) -> Tensor:
    """Refine maps (K, H, W) by an image (C, H, W)."""
    around = [index for index in range(9) if index != 4]
    windows = torch.cat([neighbours(image, d) for d in dilations], 1)
    deviation = windows.std(1, keepdim=True)
    likeness = []
    for dilation in dilations:
        others = neighbours(image, dilation)[:, around]
        likeness.append(
            -((image[:, None] - others).abs() / (width * deviation + eps)).mean(0)
        )
    weights = torch.cat(likeness).softmax(0)
    for _ in range(iterations):
        total = torch.zeros_like(maps)
        for index, dilation in enumerate(dilations):
            share = weights[8 * index : 8 * index + 8]
            total = total + (share * neighbours(maps, dilation)[:, around]).sum(1)
        maps = total
    return maps
