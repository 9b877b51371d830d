r"""Pixel-adaptive mask refinement (PAMR; Araslanov and Roth, CVPR 2020, section 3.4).

A pixel's neighbours are the 8 around it at each of several dilations; outside the
image its border pixels are repeated. Any number of threads gives the same bits.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.functional.checks import check_shape

DILATIONS = (1, 2, 4, 8, 12, 24)
AROUND = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
BAND = 1 << 17
"""Values of a band of rows, which stays in a processor's cache with its neighbours."""


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
        image: (C, H, W) or (B, C, H, W) float, any range: weights do not change with
            contrast.
        dilations: D distances in pixels.
        width: w, in standard deviations (0.1 in the authors' release).
        eps: Guards the division, in units of the image.

    Returns:
        (8 D, H, W) or (B, 8 D, H, W) in [0, 1], summing to 1 over the neighbours,
        dilation by dilation, each row by row.

    Raises:
        ValueError: if ``image`` has not these axes or a dilation is below 1.

    Example:
        >>> image = torch.tensor([[[0.0, 0.0, 9.0]]])
        >>> (100 * pamr_affinity(image, (1,))[:, 0, 1]).round().tolist()
        [20.0, 20.0, 0.0, 20.0, 0.0, 20.0, 20.0, 0.0]
    """
    check_shape('image', image, (*_batch_axis(image), 'C', 'H', 'W'))
    planes = [image, *_neighbours(image, dilations)]
    bands = zip(*(plane.split(_rows(image), -2) for plane in planes))
    weights = [_band_weights(own, others, width, eps) for own, *others in bands]
    return torch.cat(weights, -2)


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
        maps: (K, H, W) or (B, K, H, W) float.
        affinity: (8 D, H, W) or (B, 8 D, H, W), of :func:`pamr_affinity` for the same
            dilations.
        dilations: D distances in pixels.
        iterations: How many times.

    Returns:
        The shape of ``maps``, within its range.

    Raises:
        ValueError: if the shapes disagree or a dilation is below 1.

    Example:
        >>> maps = torch.tensor([[[1.0, 2.0, 6.0]]])
        >>> affinity = torch.full((8, 1, 3), 1 / 8)
        >>> propagate(maps, affinity, (1,), iterations=1)[0, 0, 1]
        tensor(3.1250)
    """
    batch, rows = maps.shape[:-3], _rows(maps)
    check_shape('maps', maps, (*_batch_axis(maps), 'K', 'H', 'W'))
    count = len(AROUND) * len(dilations)
    check_shape('affinity', affinity, (*batch, count, *maps.shape[-2:]))
    weights = [band.unbind(-4) for band in affinity.unsqueeze(-3).split(rows, -2)]
    for _ in range(iterations):
        planes = _neighbours(maps, dilations)
        bands = zip(weights, zip(*(plane.split(rows, -2) for plane in planes)))
        maps = torch.cat([_weighted_sum(*band) for band in bands], -2)
    return maps


def pamr(
    maps: Tensor,
    image: Tensor,
    dilations: Sequence[int] = DILATIONS,
    *,
    iterations: int = 10,
) -> Tensor:
    """Refine maps by an image, or those of a batch by its images (PAMR, section 3.4).

    Args:
        maps: (K, H, W) or (B, K, H, W) float, scores of any planes.
        image: (C, H, W) or (B, C, H, W) float, any range.
        dilations: D distances in pixels.
        iterations: How many times a pixel takes its neighbours' mean.

    Returns:
        The shape of ``maps``, within its range; planes and images do not mix.

    Raises:
        ValueError: if the sizes disagree or a dilation is below 1.

    Example:
        >>> image = torch.tensor([[[0.0, 0.0, 9.0, 9.0]]])
        >>> maps = torch.tensor([[[0.2, 0.6, 0.6, 1.0]]])
        >>> (10 * pamr(maps, image, (1,), iterations=9)).round()
        tensor([[[4., 4., 8., 8.]]])
    """
    check_shape('maps', maps, (*image.shape[:-3], 'K', *image.shape[-2:]))
    if maps.ndim == 4 and not maps.is_cuda:
        # one by one, weights take memory of one image
        pairs = zip(maps, image)
        return torch.stack([pamr(*p, dilations, iterations=iterations) for p in pairs])
    affinity = pamr_affinity(image, dilations)
    return propagate(maps, affinity, dilations, iterations=iterations)


def _batch_axis(planes: Tensor) -> tuple[str, ...]:
    return ('B',) if planes.ndim == 4 else ()


def _rows(planes: Tensor) -> int:
    """Return the rows of a band; a GPU takes all."""
    height = planes.shape[-2]
    if planes.is_cuda:
        return height
    return max(1, min(height, BAND * height // max(1, planes.numel())))


def _neighbours(planes: Tensor, dilations: Sequence[int]) -> list[Tensor]:
    """Return 8 D views of a padded copy, pixel i of the j-th holding i's j-th one."""
    if not dilations or min(dilations) < 1:
        raise ValueError(f'dilations: expected some, >= 1, got {tuple(dilations)}')
    (height, width), border = planes.shape[-2:], max(dilations)
    # planes as a batch, which may be empty
    single = planes.flatten(0, -3)[:, None]
    padded = F.pad(single, [border] * 4, mode='replicate')
    padded = padded.view(*planes.shape[:-2], *padded.shape[-2:])
    views = []
    for dilation in dilations:
        for y, x in AROUND:
            top, left = border + y * dilation, border + x * dilation
            views.append(padded[..., top : top + height, left : left + width])
    return views


def _band_weights(
    own: Tensor, others: Sequence[Tensor], width: float, eps: float
) -> Tensor:
    """Return the weights (..., 8 D, h, W) of a band (..., C, h, W) of the image.

    The variance comes from differences to the pixel itself. As that is a ninth of its
    windows, at least as much of the squares is left when the mean's is taken off.
    """
    size = len(others) * (len(AROUND) + 1) // len(AROUND)
    total, squares = torch.zeros_like(own), torch.zeros_like(own)
    for other in others:
        difference = other - own
        total += difference
        squares.addcmul_(difference, difference)
    variance = (squares - total.square() / size) / (size - 1)
    scale = -1 / (own.shape[-3] * (width * variance.sqrt() + eps))
    likeness = [(other - own).abs_().mul_(scale).sum(-3) for other in others]
    kappa = torch.stack(likeness, -3)
    # torch's softmax rounds differently with another number of threads
    weights = (kappa - kappa.detach().amax(-3, keepdim=True)).exp_()
    return weights / weights.sum(-3, keepdim=True)


def _weighted_sum(weights: Sequence[Tensor], planes: Sequence[Tensor]) -> Tensor:
    total = weights[0] * planes[0]
    for weight, plane in zip(weights[1:], planes[1:]):
        total.addcmul_(weight, plane)
    return total
