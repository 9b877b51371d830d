r"""Pixel-adaptive mask refinement (PAMR; Araslanov and Roth, CVPR 2020, section 3.4).

A pixel's neighbours are the 8 around it at each of several dilations; outside the
image its border pixels are repeated.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.functional.checks import check_shape

DILATIONS = (1, 2, 4, 8, 12, 24)
AROUND = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


def pamr_affinity(
    image: Tensor,
    dilations: Sequence[int] = DILATIONS,
    *,
    width: float = 0.1,
    eps: float = 1e-8,
) -> Tensor:
    r"""Weights of a pixel's neighbours from their likeness (PAMR, eq. 4 and 5).

    :math:`\kappa_{ij} = -\frac{1}{3}\sum_c |I_{ic} - I_{jc}| / (w \sigma_{ic} +
    \epsilon)` and :math:`\alpha_{ij} = \operatorname{softmax}_j \kappa_{ij}` over the
    neighbours j of pixel i. :math:`\sigma_{ic}` is the standard deviation of channel c
    over the 3x3 windows of all dilations, the pixel itself being in each of them.

    Args:
        image: (C, H, W) float, any range: weights do not change with contrast.
        dilations: D distances in pixels.
        width: w, in standard deviations (0.1 in the authors' release).
        eps: Guards the division, in units of the image.

    Returns:
        (8 D, H, W) in [0, 1], summing to 1 over the neighbours, dilation by dilation,
        each row by row.

    Raises:
        ValueError: if ``image`` has not three axes or a dilation is below 1.

    Example:
        >>> image = torch.tensor([[[0.0, 0.0, 9.0]]])
        >>> (100 * pamr_affinity(image, (1,))[:, 0, 1]).round().tolist()
        [20.0, 20.0, 0.0, 20.0, 0.0, 20.0, 20.0, 0.0]
    """
    check_shape('image', image, ('C', 'H', 'W'))
    repeats, size = len(dilations), 9 * len(dilations)
    mean = (sum(_neighbours(image, dilations)) + repeats * image) / size
    deviations = ((other - mean).square() for other in _neighbours(image, dilations))
    variance = (sum(deviations) + repeats * (image - mean).square()) / (size - 1)
    scale = -1 / (width * variance.sqrt() + eps)
    likeness = [
        ((image - other).abs() * scale).mean(0)
        for other in _neighbours(image, dilations)
    ]
    return torch.stack(likeness).softmax(0)


def propagate(
    maps: Tensor,
    affinity: Tensor,
    dilations: Sequence[int] = DILATIONS,
    *,
    iterations: int = 10,
) -> Tensor:
    r"""Replace each pixel by the weighted mean of its neighbours (PAMR, eq. 3).

    :math:`m_i^{t+1} = \sum_j \alpha_{ij} m_j^t`.

    Args:
        maps: (K, H, W) float.
        affinity: (8 D, H, W), of :func:`pamr_affinity` for the same dilations.
        dilations: D distances in pixels.
        iterations: How many times.

    Returns:
        (K, H, W), within the range of ``maps``.

    Raises:
        ValueError: if the shapes disagree or a dilation is below 1.

    Example:
        >>> maps = torch.tensor([[[1.0, 2.0, 6.0]]])
        >>> affinity = torch.full((8, 1, 3), 1 / 8)
        >>> propagate(maps, affinity, (1,), iterations=1)[0, 0, 1]
        tensor(3.1250)
    """
    check_shape('maps', maps, ('K', 'H', 'W'))
    check_shape('affinity', affinity, (len(AROUND) * len(dilations), *maps.shape[1:]))
    for _ in range(iterations):
        total = torch.zeros_like(maps)
        for weight, other in zip(affinity, _neighbours(maps, dilations)):
            total.addcmul_(weight, other)
        maps = total
    return maps


def pamr(
    maps: Tensor,
    image: Tensor,
    dilations: Sequence[int] = DILATIONS,
    *,
    iterations: int = 10,
) -> Tensor:
    """Refine maps by an image (PAMR, section 3.4).

    Args:
        maps: (K, H, W) float, scores of any planes.
        image: (C, H, W) float, any range.
        dilations: D distances in pixels.
        iterations: How many times a pixel takes its neighbours' mean.

    Returns:
        (K, H, W), within the range of ``maps``; planes do not mix.

    Raises:
        ValueError: if the sizes disagree or a dilation is below 1.

    Example:
        >>> image = torch.tensor([[[0.0, 0.0, 9.0, 9.0]]])
        >>> maps = torch.tensor([[[0.2, 0.6, 0.6, 1.0]]])
        >>> (10 * pamr(maps, image, (1,), iterations=9)).round()
        tensor([[[4., 4., 8., 8.]]])
    """
    check_shape('maps', maps, ('K', *image.shape[1:]))
    affinity = pamr_affinity(image, dilations)
    return propagate(maps, affinity, dilations, iterations=iterations)


def _neighbours(planes: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """Yield 8 D tensors (K, H, W), pixel i of the j-th holding i's j-th neighbour."""
    if not dilations or min(dilations) < 1:
        raise ValueError(f'dilations: expected some, >= 1, got {tuple(dilations)}')
    (height, width), border = planes.shape[1:], max(dilations)
    # planes as a batch, which may be empty
    padded = F.pad(planes[:, None], [border] * 4, mode='replicate')[:, 0]
    for dilation in dilations:
        for y, x in AROUND:
            top, left = border + y * dilation, border + x * dilation
            yield padded[:, top : top + height, left : left + width]
