"""Online accumulation: class maps of successive epochs kept as 8-bit maxima."""

import torch
from torch import Tensor

from mmwsss.functional.checks import check_area, check_shape
from mmwsss.functional.vectors import widen

LEVELS = 255
EPSILON = 1e-8


def quantize_maps(maps: Tensor) -> Tensor:
    r"""Bring each map to 8 bits, its maximum to 255 (OAA, section 3.1).

    .. math:: \mathrm{rint}(255\,\mathrm{relu}(m) / (\max m + 10^{-8}))

    Args:
        maps: (k, h, w), any range.

    Returns:
        (k, h, w) uint8; 0 where a map is nowhere positive.

    Raises:
        ValueError: if ``maps`` has not three axes, or no pixel.

    Example:
        >>> quantize_maps(torch.tensor([[[-1.0, 1.0, 4.0]]]))
        tensor([[[  0,  64, 255]]], dtype=torch.uint8)
    """
    check_shape('maps', maps, ('k', 'h', 'w'))
    check_area('maps', maps)
    positive = widen(maps.detach()).relu()
    peak = positive.amax((1, 2), keepdim=True)
    return (LEVELS * positive / (peak + EPSILON)).round().to(torch.uint8)


def accumulate(
    stored: Tensor,
    exists: Tensor,
    maps: Tensor,
    scores: Tensor,
    *,
    gate: float = 0.1,
    last: bool = False,
) -> tuple[Tensor, Tensor]:
    """Raise the stored maps of an image to this epoch's, pixel by pixel (OAA, eq. 1).

    A map whose class scores below ``gate`` is skipped; in the last epoch a map that is
    missing is stored whatever its score.

    Args:
        stored: (k, h, w) uint8, one map a tag; of any value where none exists yet.
        exists: (k,) bool.
        maps: (k, h, w), the epoch's class maps, any range.
        scores: (k,) probabilities of the classes.
        gate: Least probability in [0, 1] of a map that is stored.
        last: Whether the epoch is the last.

    Returns:
        The new (k, h, w) uint8, 0 where none exists, and the new (k,) bool.

    Raises:
        ValueError: if shapes or types disagree.

    Example:
        >>> stored = torch.zeros(1, 1, 2, dtype=torch.uint8)
        >>> exists = torch.tensor([False])
        >>> for score, low in ((0.9, 2.0), (0.05, 4.0), (0.2, 3.0)):
        ...     maps = torch.tensor([[[low, 4.0]]])
        ...     scores = torch.tensor([score])
        ...     stored, exists = accumulate(stored, exists, maps, scores)
        >>> stored, exists
        (tensor([[[191, 255]]], dtype=torch.uint8), tensor([True]))
    """
    check_shape('stored', stored, ('k', 'h', 'w'))
    check_shape('exists', exists, stored.shape[:1])
    check_shape('maps', maps, stored.shape)
    check_shape('scores', scores, stored.shape[:1])
    types = (('stored', stored, torch.uint8), ('exists', exists, torch.bool))
    for name, tensor, dtype in types:
        if tensor.dtype != dtype:
            raise ValueError(f'{name}: expected {dtype}, got {tensor.dtype}')
    taken = scores >= gate
    if last:
        taken = taken | ~exists
    old = stored.masked_fill(~exists[:, None, None], 0)
    new = quantize_maps(maps).masked_fill(~taken[:, None, None], 0)
    return torch.maximum(old, new), exists | taken
