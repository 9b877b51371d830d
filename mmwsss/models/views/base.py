"""What a second view is, and how views compose."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor

from mmwsss.registry import VIEWS
from mmwsss.utils.randomness import StepDraws

Restore = Callable[[Tensor], Tensor]
"""Attention (B, N', N') of the view to (B, N, N) in the image's token order."""


class View(ABC):
    """A second view of a batch and the way back for its attention (ACR, section 3)."""

    @abstractmethod
    def __call__(
        self, images: Tensor, *, stride: int, draws: StepDraws
    ) -> tuple[Tensor, Restore]:
        """Make the view.

        Args:
            images: (B, 3, H, W), normalized; sides multiples of ``stride``.
            stride: Pixels along the side of a patch.
            draws: Generators of this step.

        Returns:
            The view (B, 3, H', W') and the way back for its attention.
        """


def same(attention: Tensor) -> Tensor:
    """Give attention back as it is: the way back of views that move no patch."""
    return attention


@VIEWS.register_module()
class ComposedView(View):
    """Views applied one after the other; the way back runs in reverse.

    Args:
        views: Configs of views, first applied first.
    """

    def __init__(self, views: list[dict]) -> None:
        self.views = [VIEWS.build(view) for view in views]

    def __call__(
        self, images: Tensor, *, stride: int, draws: StepDraws
    ) -> tuple[Tensor, Restore]:
        """Make the view; each part has draws of its own."""
        ways_back: list[Restore] = []
        for stream, view in enumerate(self.views):
            images, way_back = view(images, stride=stride, draws=draws.branch(stream))
            ways_back.append(way_back)

        def restore(attention: Tensor) -> Tensor:
            for way_back in reversed(ways_back):
                attention = way_back(attention)
            return attention

        return images, restore


def build_view(config: dict | list[dict]) -> View:
    """Build a view from its config, or a composition from a list of configs."""
    if isinstance(config, list):
        return ComposedView(config)
    return VIEWS.build(config)
