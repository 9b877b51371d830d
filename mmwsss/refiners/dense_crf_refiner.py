"""Pseudo labels by a fully connected CRF, through the package pydensecrf."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmwsss.functional.refinement.background import agreed_labels, background_by_power
from mmwsss.refiners.base import IGNORED_LABEL, Refiner, check_band
from mmwsss.registry import REFINERS
from mmwsss.utils.dense_crf import (
    PairNumbers,
    choose_numbers,
    crf_marginals,
    energies_of,
    load_package,
)
from mmwsss.utils.errors import ConfigError

NAME = 'DenseCRFRefiner'
INSTEAD = (
    'choose PAMR, which needs no package: --refiner pamr, or '
    "refiner = dict(type='PAMRRefiner') in the config"
)
ALPHA = 4.0


@REFINERS.register_module()
@dataclass(frozen=True, kw_only=True)
class DenseCRFRefiner(Refiner):
    r"""Fully connected CRF on the maps (Krähenbühl and Koltun, NeurIPS 2011).

    A label's energy is :math:`-\log` of its score plus, for each pair of pixels i and j
    of different labels, two Gaussians of their likeness:

    .. math::
        w_1 \exp\left(-\frac{|p_i - p_j|^2}{2 \theta_\gamma^2}\right) +
        w_2 \exp\left(-\frac{|p_i - p_j|^2}{2 \theta_\alpha^2}
                      - \frac{|I_i - I_j|^2}{2 \theta_\beta^2}\right),

    p in pixels, I in 0..255 RGB, each kernel normalized symmetrically. Pixels take the
    label of the largest marginal after mean-field inference; of equal ones the first,
    the background being the very first. It computes on the processor.

    The presets, as (``gauss_sxy``, ``gauss_compat``; ``bilateral_sxy``,
    ``bilateral_srgb``, ``bilateral_compat``), are cam: (3, 3; 80, 13, 10), also RCA's;
    irn: (3, 3; 50, 5, 10); deeplabv2: (1, 3; 67, 3, 4).

    The background's score is ``(1 - max_c) ** alpha`` or, with
    ``background_threshold``, that threshold everywhere. A second, weaker background
    (``background_alpha`` or, with ``foreground_threshold``, the lower threshold) leaves
    pixels undecided: foreground is what the stronger one leaves, background is what
    the weaker one keeps.

    Args:
        preset: Where the five numbers of the pairs that are not given come from.
        gauss_sxy: :math:`\theta_\gamma`, width of the first kernel in pixels.
        gauss_compat: :math:`w_1`, its weight.
        bilateral_sxy: :math:`\theta_\alpha`, width of the second kernel in pixels.
        bilateral_srgb: :math:`\theta_\beta`, its width in grey levels of 0..255.
        bilateral_compat: :math:`w_2`, its weight.
        iterations: Steps of mean-field inference.
        certainty: With it, energies come from the best label alone, which gets this
            probability, and the others share the rest (0.7 in IRN's release).
        alpha: Power of the background.
        background_alpha: Power of the weaker background, above ``alpha``.
        background_threshold: Score of the background in [0, 1], in place of a power.
        foreground_threshold: Score of the stronger background.

    Raises:
        DependencyError: if pydensecrf cannot be imported.
        ConfigError: if a value is not usable, or both thresholds and powers are given.
    """

    on_cpu = True

    preset: str = 'cam'
    gauss_sxy: float | None = None
    gauss_compat: float | None = None
    bilateral_sxy: float | None = None
    bilateral_srgb: float | None = None
    bilateral_compat: float | None = None
    iterations: int = 10
    certainty: float | None = None
    alpha: float | None = None
    background_alpha: float | None = None
    background_threshold: float | None = None
    foreground_threshold: float | None = None

    def __post_init__(self) -> None:
        load_package(NAME, instead=INSTEAD)
        numbers = choose_numbers(
            self.preset, self._pair_numbers(), self.iterations, owner='refiner'
        )
        for name, value in numbers._asdict().items():
            object.__setattr__(self, name, value)
        if self.certainty is not None and not 0 < self.certainty < 1:
            raise ConfigError(
                f'refiner.certainty: expected 0 < certainty < 1, got {self.certainty}'
            )
        if self.background_threshold is None:
            self._check_powers()
        else:
            self._check_thresholds(self.background_threshold)

    def _pair_numbers(self) -> PairNumbers:
        return PairNumbers(*(getattr(self, name) for name in PairNumbers._fields))

    def _check_powers(self) -> None:
        if self.foreground_threshold is not None:
            raise ConfigError(
                'refiner.foreground_threshold stands beside a background_threshold, '
                'which is not given'
            )
        alpha = ALPHA if self.alpha is None else float(self.alpha)
        object.__setattr__(self, 'alpha', alpha)
        weaker = self.background_alpha
        if not 0 < alpha <= (alpha if weaker is None else weaker):
            raise ConfigError(
                'refiner: expected 0 < alpha <= background_alpha, got '
                f'{alpha} and {weaker}'
            )

    def _check_thresholds(self, low: float) -> None:
        if (self.alpha, self.background_alpha) != (None, None):
            raise ConfigError(
                'refiner: the background is scored by background_threshold or by '
                'alpha, not by both: leave one out'
            )
        check_band(low, self.foreground_threshold)

    def refine(
        self, maps: Tensor, image: NDArray[np.uint8], tags: Sequence[int]
    ) -> Tensor:
        """Return the label (H, W) by the marginals."""
        labels = torch.tensor([0, *(tag + 1 for tag in tags)])
        found = [
            labels[self.marginals(torch.cat([plane, maps]), image).argmax(0)]
            for plane in self.backgrounds(maps)
        ]
        return agreed_labels(found[0], found[-1], IGNORED_LABEL)

    def backgrounds(self, maps: Tensor) -> list[Tensor]:
        """Return scores (1, H, W) of the background: the strong and, if any, the weak.

        Args:
            maps: (k, H, W) in [0, 1], one a present class.
        """
        if self.background_threshold is None:
            powers = (self.alpha, self.background_alpha)
            return [background_by_power(maps, a) for a in powers if a is not None]
        levels = (self.foreground_threshold, self.background_threshold)
        size = (1, *maps.shape[1:])
        return [maps.new_full(size, level) for level in levels if level is not None]

    def marginals(self, scores: Tensor, image: NDArray[np.uint8]) -> Tensor:
        """Return the probability of each label at each pixel.

        Args:
            scores: (n, H, W) in [0, 1], the background's first.
            image: (H, W, 3) RGB.

        Returns:
            (n, H, W) float32, summing to 1 over the labels.
        """
        if len(scores) == 1:
            return torch.ones_like(scores)
        return crf_marginals(
            self.energies(scores),
            image,
            self._pair_numbers(),
            iterations=self.iterations,
            package=load_package(NAME, instead=INSTEAD),
        )

    def energies(self, scores: Tensor) -> Tensor:
        """Return the energy (n, H, W) of each label at each pixel alone."""
        scores = scores.cpu()
        if self.certainty is not None:
            rest = (1 - self.certainty) / (len(scores) - 1)
            best = torch.arange(len(scores))[:, None, None] == scores.argmax(0)
            scores = torch.where(best, self.certainty, rest)
        return energies_of(scores)
