"""Regions: where a class map exceeds its mean, and the mean feature there."""

import torch
from torch import Tensor

from mmwsss.functional.checks import check_area, check_shape
from mmwsss.functional.vectors import full_precision, widen


def region_masks(maps: Tensor) -> Tensor:
    r"""Mark where each map exceeds its spatial mean (RCA, section 3.2).

    .. math:: P_k = [S_k > \mathrm{mean}(S_k)]

    No gradient passes. A constant map has an empty mask.

    Args:
        maps: (..., H, W), any range: raw class maps or their softmax over classes.

    Returns:
        (..., H, W) bool.

    Raises:
        ValueError: if a map has no pixel.

    Example:
        >>> region_masks(torch.tensor([[[0.0, 3.0]], [[0.1, 0.1]]]))
        tensor([[[False,  True]],
        <BLANKLINE>
                [[False, False]]])
    """
    check_area('maps', maps)
    maps = widen(maps.detach())
    low, high = (bound((-2, -1), keepdim=True) for bound in (maps.amin, maps.amax))
    # the mean of equal values may round to less than each of them
    return (maps > maps.mean((-2, -1), keepdim=True)) & (low < high)


def masked_average(features: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    r"""Average features over each class's own mask (RCA, eq. 2).

    .. math:: f_k = \sum_i P_{ki} F_i / \sum_i P_{ki}

    Args:
        features: (B, D, H, W), any range.
        masks: (B, C, H, W) bool.

    Returns:
        Means (B, C, D) in float32 or wider, 0 for an empty mask; and whether the mask
        holds a pixel, (B, C) bool.

    Raises:
        ValueError: if the shapes disagree or the masks are not bool.

    Example:
        >>> features = torch.tensor([[[[1.0, 3.0, 8.0]]]])
        >>> masks = torch.tensor([[[[True, True, False]], [[False] * 3]]])
        >>> masked_average(features, masks)
        (tensor([[[2.],
                 [0.]]]), tensor([[ True, False]]))
    """
    check_shape('features', features, ('B', 'D', 'H', 'W'))
    size, grid = features.shape[0], features.shape[2:]
    check_shape('masks', masks, (size, 'C', *grid))
    if masks.dtype != torch.bool:
        raise ValueError(f'masks: expected bool, got {masks.dtype}')
    rows = widen(features).flatten(2).transpose(1, 2)
    weights = masks.flatten(2).to(rows.dtype)
    areas = weights.sum(2, keepdim=True)
    with full_precision(rows):
        means = weights @ rows / areas.clamp_min(1)
    return means, areas.squeeze(2) > 0
