"""Views and scales in which a classifier sees an image when it localizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.functional.views import DIHEDRAL, INVERSE, apply_dihedral
from mmwsss.utils.errors import ConfigError

Size = tuple[int, int]


class InferenceViews:
    """Elements of D4 and scales, and the way back for their maps.

    Args:
        views: Names of D4; the first one's logits count.
        scales: Factors of the input size, likewise.

    Raises:
        ConfigError: if a value is not valid.
    """

    def __init__(
        self,
        *,
        views: Sequence[str] = ('identity', 'hflip'),
        scales: Sequence[float] = (1.0,),
    ) -> None:
        if not views or not set(views) <= set(DIHEDRAL):
            raise ConfigError(
                f'views: expected some of {sorted(DIHEDRAL)}, got {list(views)}'
            )
        if not scales or min(scales) <= 0:
            raise ConfigError(f'scales: expected positive numbers, got {list(scales)}')
        self.views, self.scales = tuple(views), tuple(scales)

    def batches(
        self, images: Tensor, *, stride: int = 1
    ) -> Iterator[tuple[list[str], Tensor]]:
        """Yield names of views with their batch; views of one size share a batch.

        Args:
            images: (B, 3, H, W).
            stride: Pixels of which scaled sides are multiples.

        Yields:
            v names and the views (v * B, 3, h, w), one name's images together.
        """
        for scale in self.scales:
            scaled = _scale(images, scale, stride)
            by_shape: dict[torch.Size, list[tuple[str, Tensor]]] = {}
            for name in self.views:
                view = apply_dihedral(scaled, name)
                by_shape.setdefault(view.shape, []).append((name, view))
            for group in by_shape.values():
                yield (
                    [name for name, _ in group],
                    torch.cat([view for _, view in group]),
                )


def restore_view(maps: Tensor, name: str, grid: Size) -> Tensor:
    """Bring maps (B, K, h, w) of a view back to the image, on a grid (gh, gw)."""
    maps = apply_dihedral(maps, INVERSE[name])
    if maps.shape[1] == 0:
        return maps.new_zeros((len(maps), 0, *grid))
    if tuple(maps.shape[-2:]) == tuple(grid):
        return maps
    return F.interpolate(maps, size=grid, mode='bilinear', align_corners=False)


def _scale(images: Tensor, scale: float, stride: int) -> Tensor:
    if scale == 1:
        return images
    size = [max(1, round(side * scale / stride)) * stride for side in images.shape[-2:]]
    return F.interpolate(
        images, size=size, mode='bilinear', align_corners=False, antialias=True
    )
