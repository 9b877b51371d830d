"""Views that move patches: the symmetries of the square, and resizing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.functional.views import (
    DIHEDRAL,
    TRANSPOSING,
    Grid,
    apply_dihedral,
    inverse_token_order,
    permute_attention,
    resize_attention,
)
from mmwsss.models.views.base import Restore, View, same
from mmwsss.registry import VIEWS
from mmwsss.utils.errors import ConfigError
from mmwsss.utils.randomness import StepDraws


@VIEWS.register_module()
class DihedralView(View):
    """A symmetry of the square, drawn for each image from those named.

    Args:
        elements: Names out of ``mmwsss.functional.views.DIHEDRAL``: ``('hflip',)`` for
            the mirrored view of ACR, ``('rot90', 'rot180', 'rot270')`` for rotation.

    Raises:
        ConfigError: if a name is unknown or there is none.
    """

    def __init__(self, elements: Sequence[str] = ('hflip',)) -> None:
        unknown = sorted(set(elements) - set(DIHEDRAL))
        if unknown or not elements:
            raise ConfigError(
                f'DihedralView: elements must be out of {sorted(DIHEDRAL)}, '
                f'got {list(elements)}'
            )
        self.elements = tuple(elements)

    def __call__(
        self, images: Tensor, *, stride: int, draws: StepDraws
    ) -> tuple[Tensor, Restore]:
        """Make the view.

        Raises:
            ConfigError: if images of one batch would become upright and lying.
        """
        grid = images.shape[-2] // stride, images.shape[-1] // stride
        names = self._draw(draws)
        if len(set(names)) == 1:
            view = apply_dihedral(images, names[0])
            return view, _permuting(inverse_token_order(names[0], grid), images)
        _check_one_shape(names, grid)
        view = torch.stack([apply_dihedral(*pair) for pair in zip(images, names)])
        orders = torch.stack([inverse_token_order(name, grid) for name in names])
        return view, _permuting(orders, images)

    def _draw(self, draws: StepDraws) -> list[str]:
        if len(self.elements) == 1:
            return [self.elements[0]] * len(draws.samples)
        picks = (
            torch.randint(len(self.elements), (), generator=generator)
            for generator in draws.of_images()
        )
        return [self.elements[int(pick)] for pick in picks]


def _permuting(order: Tensor, images: Tensor) -> Restore:
    order = order.to(images.device)
    return lambda attention: permute_attention(attention, order)


def _check_one_shape(names: list[str], grid: Grid) -> None:
    if grid[0] != grid[1] and len({name in TRANSPOSING for name in names}) == 2:
        raise ConfigError(
            f'DihedralView: {sorted(set(names))} give a batch of {grid[0]}x{grid[1]} '
            'patches two shapes; train on square crops, or name only elements that all '
            'keep or all swap height and width'
        )


@VIEWS.register_module()
class ResizeView(View):
    """The batch resized by one factor; attention is interpolated back.

    Args:
        factor: Range of the uniform factor; sizes are rounded to whole patches.

    Raises:
        ConfigError: if the range is empty or not positive.
    """

    def __init__(self, factor: tuple[float, float] = (0.5, 1.5)) -> None:
        if not 0 < factor[0] <= factor[1]:
            raise ConfigError(
                f'ResizeView: factor must be 0 < low <= high, got {factor}'
            )
        self.factor = factor

    def __call__(
        self, images: Tensor, *, stride: int, draws: StepDraws
    ) -> tuple[Tensor, Restore]:
        """Make the view."""
        low, high = self.factor
        draw = torch.rand((), generator=draws.of_batch()).item()
        factor = low + (high - low) * draw
        source = images.shape[-2] // stride, images.shape[-1] // stride
        rows, columns = (max(1, round(side * factor)) for side in source)
        target = rows, columns
        if target == source:
            return images, same
        view = F.interpolate(
            images,
            size=tuple(side * stride for side in target),
            mode='bilinear',
            align_corners=False,
            antialias=True,
        )
        return view, lambda attention: resize_attention(attention, target, source)
