"""The fully connected CRF of the package pydensecrf, which is optional."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmwsss.utils.errors import ConfigError, DependencyError

LOWEST = 1e-5
"""Scores below count as this: their logarithm is an energy."""


class PairNumbers(NamedTuple):
    r"""Numbers of the energy of a pair of pixels of different labels.

    .. math::
        w_1 \exp\left(-\frac{|p_i - p_j|^2}{2 \theta_\gamma^2}\right) +
        w_2 \exp\left(-\frac{|p_i - p_j|^2}{2 \theta_\alpha^2}
                      - \frac{|I_i - I_j|^2}{2 \theta_\beta^2}\right),

    p in pixels, I in 0..255 RGB, each kernel normalized symmetrically (Krähenbühl and
    Koltun, NeurIPS 2011).

    Attributes:
        gauss_sxy: :math:`\theta_\gamma`.
        gauss_compat: :math:`w_1`.
        bilateral_sxy: :math:`\theta_\alpha`.
        bilateral_srgb: :math:`\theta_\beta`.
        bilateral_compat: :math:`w_2`.
    """

    gauss_sxy: float
    gauss_compat: float
    bilateral_sxy: float
    bilateral_srgb: float
    bilateral_compat: float


PRESETS = {
    'cam': PairNumbers(3.0, 3.0, 80.0, 13.0, 10.0),
    'irn': PairNumbers(3.0, 3.0, 50.0, 5.0, 10.0),
    'deeplabv2': PairNumbers(1.0, 3.0, 67.0, 3.0, 4.0),
}
"""Numbers by the name of who uses them."""


def choose_numbers(
    preset: str, given: Sequence[float | None], iterations: int, *, owner: str
) -> PairNumbers:
    """Return a preset's numbers with given ones in place of them.

    Args:
        preset: Name in ``PRESETS``.
        given: One a field of ``PairNumbers``, None where the preset's holds.
        iterations: Steps of inference, checked as well.
        owner: What the settings belong to, for the message.

    Raises:
        ConfigError: if there is no such preset or a number is not usable.
    """
    if preset not in PRESETS:
        raise ConfigError(
            f'{owner}.preset: expected one of {", ".join(PRESETS)}, got {preset!r}'
        )
    chosen = PairNumbers(
        *(
            usual if number is None else float(number)
            for usual, number in zip(PRESETS[preset], given, strict=True)
        )
    )
    for name, value in chosen._asdict().items():
        if not 0 < value < float('inf'):
            raise ConfigError(f'{owner}.{name}: expected > 0, got {value}')
    if iterations < 1:
        raise ConfigError(f'{owner}.iterations: expected >= 1, got {iterations}')
    return chosen


def load_package(owner: str, *, instead: str = '') -> ModuleType:
    """Return pydensecrf's module.

    Args:
        owner: What needs it, for the message.
        instead: What does without it, for the message.

    Raises:
        DependencyError: if it cannot be imported.
    """
    try:
        return importlib.import_module('pydensecrf.densecrf')
    except ImportError as error:
        raise DependencyError(
            f'{owner} needs the package pydensecrf ({error}); run: pip install '
            f"'mmwsss[crf]', which compiles it{instead and ', or '}{instead}"
        ) from error


def energies_of(scores: Tensor) -> Tensor:
    """Return the energy ``-log`` of scores (n, H, W) in [0, 1]; 0 counts as LOWEST."""
    return -scores.clamp(LOWEST, 1).log()


def crf_marginals(
    energies: Tensor,
    image: NDArray[np.uint8],
    numbers: PairNumbers,
    *,
    iterations: int,
    package: ModuleType,
) -> Tensor:
    """Return the probability of each label at each pixel after mean-field inference.

    Args:
        energies: (n, H, W) on the CPU, n > 1: of each label at each pixel alone.
        image: (H, W, 3) RGB.
        numbers: Of the pairs.
        iterations: Steps of inference.
        package: Of ``load_package``.

    Returns:
        (n, H, W) float32, summing to 1 over the labels.
    """
    count, height, width = energies.shape
    crf = package.DenseCRF2D(width, height, count)
    crf.setUnaryEnergy(np.ascontiguousarray(energies.flatten(1).numpy(), np.float32))
    crf.addPairwiseGaussian(sxy=numbers.gauss_sxy, compat=numbers.gauss_compat)
    crf.addPairwiseBilateral(
        sxy=numbers.bilateral_sxy,
        srgb=numbers.bilateral_srgb,
        rgbim=np.ascontiguousarray(image),
        compat=numbers.bilateral_compat,
    )
    found = np.array(crf.inference(iterations), np.float32)
    return torch.from_numpy(found).view(count, height, width)


def crf_label(
    scores: NDArray[np.float32],
    image: NDArray[np.uint8],
    numbers: PairNumbers,
    iterations: int,
) -> NDArray[np.int64]:
    """Return the label (H, W) of the largest marginal; of equal ones the first.

    Args:
        scores: (n, H, W), probabilities of the labels.
        image: (H, W, 3) RGB.
        numbers: Of the pairs.
        iterations: Steps of mean-field inference.
    """
    marginals = crf_marginals(
        energies_of(torch.from_numpy(scores)),
        image,
        numbers,
        iterations=iterations,
        package=load_package('crf_label'),
    )
    return marginals.argmax(0).numpy()
