"""Pseudo labels by thresholds alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mmwsss.functional.refinement.label_band import label_with_band
from mmwsss.refiners.base import IGNORED_LABEL, Refiner, check_band
from mmwsss.registry import REFINERS


@REFINERS.register_module()
@dataclass(frozen=True, kw_only=True)
class ThresholdRefiner(Refiner):
    """Gives each pixel to its best class, or to the background where that is weak.

    Args:
        background_threshold: Scores in [0, 1] up to this are background. It means what
            the thresholds of ``SeedIoUMetric``'s curve mean. In its place
            ``generate_pseudo_labels.py`` takes ``'gt_free'`` or ``'searched'`` as well
            and chooses the number once, over all seeds.
        foreground_threshold: Scores above this are foreground and those between both
            thresholds undecided; without it nothing is undecided.

    Raises:
        ConfigError: if the thresholds are not 0 <= background <= foreground <= 1.
    """

    background_threshold: float = 0.4
    foreground_threshold: float | None = None

    def __post_init__(self) -> None:
        check_band(self.background_threshold, self.foreground_threshold)

    def refine(
        self, maps: Tensor, image: NDArray[np.uint8], tags: Sequence[int]
    ) -> Tensor:
        """Return the label (H, W) by the thresholds."""
        low, high = self.background_threshold, self.foreground_threshold
        return label_with_band(
            self.scores(maps, image),
            tags,
            background_threshold=low,
            foreground_threshold=low if high is None else high,
            ignore_index=IGNORED_LABEL,
        )

    def scores(self, maps: Tensor, image: NDArray[np.uint8]) -> Tensor:
        """Return the maps that the thresholds apply to: here the given ones."""
        return maps
