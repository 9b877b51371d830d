"""Random walks of score planes over a grid whose near cells have affinities."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.functional.checks import check_shape


def random_walk(
    planes: Tensor,
    affinity: Tensor,
    offsets: Sequence[tuple[int, int]],
    *,
    exponent: float,
    steps: int = 256,
) -> Tensor:
    r"""Spread planes along affinities (PSA, eq. 5-6; IRN, eq. 7-8).

    :math:`T^t m` with :math:`T = D^{-1} W`, W symmetric, :math:`W_{ii} = 1`,
    :math:`W_{ij} = a_{ij}^\beta` for a pair of cells and 0 otherwise, D the diagonal of
    W's row sums. T is never built: a step costs 2 P products a cell and plane.

    Args:
        planes: (K, h, w) float.
        affinity: (P, h, w) in [0, 1]: entry p at (y, x) is of the cells (y, x) and
            (y + dy_p, x + dx_p); it does not count where that is outside.
        offsets: P offsets (dy, dx), none the opposite of another.
        exponent: The power, above 0 (PSA: 8, IRN: 10).
        steps: t; squaring T eight times gives 256.

    Returns:
        (K, h, w), within the range of ``planes``; planes do not mix.

    Raises:
        ValueError: if the shapes disagree, ``exponent`` is not above 0, or ``steps`` is
            negative.

    Example:
        >>> planes = torch.tensor([[[1.0, 0.0, 0.0]]])
        >>> affinity = torch.tensor([[[1.0, 0.0, 0.0]]])
        >>> random_walk(planes, affinity, [(0, 1)], exponent=8, steps=1)
        tensor([[[0.5000, 0.5000, 0.0000]]])
    """
    check_shape('planes', planes, ('K', 'h', 'w'))
    check_shape('affinity', affinity, (len(offsets), *planes.shape[1:]))
    if not exponent > 0 or steps < 0:
        raise ValueError(
            f'expected exponent > 0 and steps >= 0, got {exponent} and {steps}'
        )
    # Planes and weights as rows of cells: a neighbour is a fixed number of cells
    # away, and weights are 0 where that leads into another line.
    shifts = [dy * planes.shape[2] + dx for dy, dx in offsets]
    reach = max((abs(shift) for shift in shifts), default=0)
    weights = _weights(affinity.to(planes.dtype), offsets, exponent).flatten(1)
    forward, size = weights.unbind(), weights.shape[1]
    begins = [reach + shift for shift in shifts], [reach - shift for shift in shifts]
    padded = F.pad(weights, (reach, reach))
    backward = [row[begin : begin + size] for row, begin in zip(padded, begins[1])]
    links = list(zip((*forward, *backward), (*begins[0], *begins[1])))
    degree = 1 + sum(weight for weight, _ in links)
    found = planes.flatten(1)
    for _ in range(steps):
        cells = F.pad(found, (reach, reach))
        found = found.clone()
        for weight, begin in links:
            found.addcmul_(weight, cells[:, begin : begin + size])
        found = found / degree
    return found.view_as(planes)


def _weights(
    affinity: Tensor, offsets: Sequence[tuple[int, int]], exponent: float
) -> Tensor:
    """Return the powers (P, h, w), 0 for a pair with an outside cell."""
    _, height, width = affinity.shape
    steps = torch.tensor(offsets, device=affinity.device).view(-1, 2, 1, 1)
    rows = torch.arange(height, device=affinity.device)[:, None] + steps[:, 0]
    columns = torch.arange(width, device=affinity.device) + steps[:, 1]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return torch.where(inside, affinity**exponent, 0)


def planes_on_grid(planes: Tensor, stride: int) -> Tensor:
    """Average planes over the cells of a grid.

    Args:
        planes: (K, H, W) float.
        stride: Side of a cell in pixels; a cell that sticks out is the mean of its
            pixels inside.

    Returns:
        (K, ceil(H / stride), ceil(W / stride)).

    Raises:
        ValueError: if ``planes`` has not three axes.

    Example:
        >>> planes_on_grid(torch.tensor([[[1.0, 3.0, 7.0]]]), 2)
        tensor([[[2., 7.]]])
    """
    check_shape('planes', planes, ('K', 'H', 'W'))
    sizes = [-(-size // stride) * stride for size in planes.shape[1:]]
    missing = (0, sizes[1] - planes.shape[2], 0, sizes[0] - planes.shape[1])
    # planes as a batch, which may be empty
    total = F.avg_pool2d(F.pad(planes[:, None], missing), stride)[:, 0]
    ones = planes.new_ones(1, *planes.shape[1:])
    share = F.avg_pool2d(F.pad(ones, missing), stride)
    return total / share


def planes_from_grid(planes: Tensor, stride: int, size: Sequence[int]) -> Tensor:
    """Up-sample planes of a grid to the image's pixels.

    Args:
        planes: (K, h, w) float.
        stride: Side of a cell in pixels.
        size: Height and width of the image, up to (h stride, w stride).

    Returns:
        (K, H, W), bilinear between the cells' centres.

    Raises:
        ValueError: if the image does not lie in the grid.

    Example:
        >>> planes_from_grid(torch.tensor([[[0.0, 4.0]]]), 2, (1, 3))
        tensor([[[0., 1., 3.]]])
    """
    check_shape('planes', planes, ('K', 'h', 'w'))
    height, width = size
    if height > planes.shape[1] * stride or width > planes.shape[2] * stride:
        raise ValueError(
            f'size: expected up to {stride} times the grid {tuple(planes.shape[1:])}, '
            f'got {tuple(size)}'
        )
    whole = [side * stride for side in planes.shape[1:]]
    found = F.interpolate(planes[:, None], whole, mode='bilinear', align_corners=False)
    return found[:, 0, :height, :width]
