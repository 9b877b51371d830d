"""Views that change what patches show and leave them where they are."""

from __future__ import annotations

import torch
from torch import Tensor

from mmwsss.models.views.base import Restore, View, same
from mmwsss.registry import VIEWS
from mmwsss.utils.errors import ConfigError
from mmwsss.utils.randomness import StepDraws

LUMINANCE = (0.299, 0.587, 0.114)
"""ITU-R BT.601 weights of red, green and blue."""


@VIEWS.register_module()
class PatchHidingView(View):
    """Random patches replaced by the image's own mean colour.

    Args:
        probability: Chance of each patch to be hidden, in [0, 1].

    Raises:
        ConfigError: if ``probability`` is outside [0, 1].
    """

    def __init__(self, probability: float = 0.3) -> None:
        if not 0 <= probability <= 1:
            raise ConfigError(
                f'PatchHidingView: probability must be in [0, 1], got {probability}'
            )
        self.probability = probability

    def __call__(
        self, images: Tensor, *, stride: int, draws: StepDraws
    ) -> tuple[Tensor, Restore]:
        """Make the view."""
        grid = images.shape[-2] // stride, images.shape[-1] // stride
        chances = torch.stack(
            [torch.rand(grid, generator=g) for g in draws.of_images()]
        )
        hidden = (chances < self.probability).to(images.device)
        hidden = hidden.repeat_interleave(stride, 1).repeat_interleave(stride, 2)
        mean = images.mean((2, 3), keepdim=True)
        return torch.where(hidden[:, None], mean, images), same


@VIEWS.register_module()
class GreyView(View):
    """The batch in shades of grey: luminance in all three channels, RGB order."""

    def __call__(
        self, images: Tensor, *, stride: int, draws: StepDraws
    ) -> tuple[Tensor, Restore]:
        """Make the view."""
        weights = images.new_tensor(LUMINANCE).view(1, 3, 1, 1)
        return (images * weights).sum(1, keepdim=True).expand_as(images), same
