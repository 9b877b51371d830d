"""Pseudo labels by maps that follow the image's edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmwsss.functional.refinement.pamr import DILATIONS, pamr
from mmwsss.refiners.threshold import ThresholdRefiner
from mmwsss.registry import REFINERS
from mmwsss.utils.errors import ConfigError


@REFINERS.register_module()
@dataclass(frozen=True, kw_only=True)
class PAMRRefiner(ThresholdRefiner):
    """Pixel-adaptive mask refinement (Araslanov and Roth, CVPR 2020), then thresholds.

    The background's score is the threshold itself everywhere: an even plane does not
    change by refinement, and the threshold keeps the meaning it has for seeds.

    Args:
        background_threshold: As for ``ThresholdRefiner``.
        foreground_threshold: As for ``ThresholdRefiner``.
        dilations: Distances of the 8 neighbours in pixels.
        iterations: How many times a pixel takes its neighbours' weighted mean.

    Raises:
        ConfigError: if a value is not usable.
    """

    dilations: tuple[int, ...] = DILATIONS
    iterations: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, 'dilations', tuple(self.dilations))
        if not self.dilations or min(self.dilations) < 1:
            raise ConfigError(
                f'refiner.dilations: expected some, >= 1, got {self.dilations}'
            )
        if self.iterations < 1:
            raise ConfigError(
                f'refiner.iterations: expected >= 1, got {self.iterations}'
            )

    def scores(self, maps: Tensor, image: NDArray[np.uint8]) -> Tensor:
        """Return the maps refined by the image."""
        planes = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        return pamr(
            maps,
            planes.to(maps) / np.iinfo(np.uint8).max,
            self.dilations,
            iterations=self.iterations,
        )
