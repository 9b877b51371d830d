"""What all refiners share: their interface and the record of their settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mmwsss.functional.checks import check_shape
from mmwsss.utils.errors import ConfigError

IGNORED_LABEL = 255
"""Label of undecided pixels."""


def check_band(low: float | str, high: float | None) -> None:
    """Check the thresholds of background and foreground; None for one that serves both.

    Raises:
        ConfigError: if they are not 0 <= background <= foreground <= 1.
    """
    if isinstance(low, str):
        raise ConfigError(
            f'refiner.background_threshold={low!r}: tools/generate_pseudo_labels.py '
            'turns a rule into a number, over all seeds; here expected a number in '
            '[0, 1]'
        )
    if not 0 <= low <= (low if high is None else high) <= 1:
        raise ConfigError(
            'refiner: expected 0 <= background_threshold <= foreground_threshold '
            f'<= 1, got {low} and {high}'
        )


@dataclass(frozen=True, kw_only=True)
class Refiner(ABC):
    """Turns the maps of an image into its pseudo label.

    A subclass is a frozen dataclass as well: its fields are its settings, which the
    labels' manifest states and which tell labels of different settings apart.

    Attributes:
        extra_supervision: What it uses besides image tags, e.g. ``'saliency'``.
        on_cpu: Whether it computes on the processor whatever the device of the maps.
            Maps are then made there too, and labels are the same with a GPU or none.
    """

    extra_supervision: ClassVar[str | None] = None
    on_cpu: ClassVar[bool] = False

    def __call__(
        self, maps: Tensor, image: NDArray[np.uint8], tags: Sequence[int]
    ) -> NDArray[np.uint8]:
        """Return the pseudo label of an image.

        Args:
            maps: (k, H, W) float32 in [0, 1] at the image's size, one a tag.
            image: (H, W, 3) RGB.
            tags: k foreground class indices, ascending, 0 = first after background.

        Returns:
            (H, W), 0 = background, class + 1, or 255 where undecided.

        Raises:
            ValueError: if the parts do not fit one another.
        """
        check_shape('maps', maps, (len(tags), 'H', 'W'))
        expected = (*maps.shape[1:], 3)
        if image.shape != expected or image.dtype != np.uint8:
            raise ValueError(
                f'image: expected {expected} uint8, got {image.shape} {image.dtype}'
            )
        return self.refine(maps, image, tags).cpu().numpy().astype(np.uint8)

    def for_image(self, image_id: str) -> Refiner:
        """Return the refiner of one image; another where it reads files of its own."""
        return self

    @abstractmethod
    def refine(
        self, maps: Tensor, image: NDArray[np.uint8], tags: Sequence[int]
    ) -> Tensor:
        """Return the label (H, W), integer; arguments as those of a call."""

    def settings(self) -> dict[str, Any]:
        """Return the type's name and all settings, defaults included."""
        return dict(type=type(self).__name__, **asdict(self))
