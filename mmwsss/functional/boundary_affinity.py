r"""Affinities from a map of class boundaries, and displacements (IRN).

IRN is Ahn, Cho and Kwak, CVPR 2019. A pair (i, j) is a pixel and the one at an offset
(dy, dx) from it, in pixels of the grid; pair p of pixel (y, x) is at index [p, y, x].
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.functional.affinity_pairs import PairTargets, neighbour_values
from mmwsss.functional.checks import check_shape
from mmwsss.functional.vectors import widen

Offset = tuple[int, int]


class DisplacementLosses(NamedTuple):
    """Two scalars, in pixels of the grid."""

    foreground: Tensor
    background: Tensor


def line_pixels(offset: Offset) -> list[Offset]:
    """List the pixels on the straight path from (0, 0) to an offset, ends included.

    A pixel is on the path if the line between the centres of both ends touches its
    square, be it in a corner only. So no path slips through a boundary whose pixels
    meet at corners.

    Args:
        offset: (dy, dx), of any sign.

    Returns:
        Pixels (y, x), row by row downwards, each row from left to right.

    Example:
        >>> line_pixels((0, 2))
        [(0, 0), (0, 1), (0, 2)]
        >>> line_pixels((1, 3))
        [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (1, 3)]
    """
    dy, dx = offset
    # the line's normal separates it from squares farther than half their width along it
    reach = abs(dy) + abs(dx)
    return [
        (y, x)
        for y in range(min(0, dy), max(0, dy) + 1)
        for x in range(min(0, dx), max(0, dx) + 1)
        if 2 * abs(dy * x - dx * y) <= reach
    ]


def path_affinity(boundary: Tensor, offsets: Sequence[Offset]) -> Tensor:
    r"""Affinity of pixels: none where a boundary lies between them (IRN).

    .. math::
        a_{ij} = 1 - \max_{k \in \Pi_{ij}} B(x_k),

    :math:`\Pi_{ij}` being the pixels of :func:`line_pixels`. The gradient goes to one
    largest pixel of each path.

    Args:
        boundary: B, (B, h, w) in [0, 1], probability of a class boundary.
        offsets: P offsets (dy, dx).

    Returns:
        (B, P, h, w) in [0, 1]; 0 where the other pixel is outside.

    Raises:
        ValueError: if ``boundary`` has not three axes or there is no offset.

    Example:
        >>> path_affinity(torch.tensor([[[0.0, 0.75, 0.5, 0.0]]]), [(0, 1), (0, 2)])
        tensor([[[[0.2500, 0.2500, 0.5000, 0.0000]],
        <BLANKLINE>
                 [[0.2500, 0.2500, 0.0000, 0.0000]]]])
    """
    check_shape('boundary', boundary, ('B', 'h', 'w'))
    if not offsets:
        raise ValueError('offsets: expected some, got none')
    reach = max(abs(step) for offset in offsets for step in offset)
    # a path that leaves the grid ends at a sure boundary
    padded = F.pad(boundary, [reach] * 4, value=1.0)
    with torch.no_grad():
        highest = torch.stack([_highest(padded, o, reach) for o in offsets], 1)
    largest = padded.flatten(1).gather(1, highest.flatten(1))
    return 1 - largest.view(highest.shape)


def _highest(padded: Tensor, offset: Offset, reach: int) -> Tensor:
    """Return where each path is highest, an index into the flattened plane.

    Args:
        padded: (B, h + 2 reach, w + 2 reach).
        offset: Of the paths' ends.
        reach: Pixels around the grid.

    Returns:
        (B, h, w).
    """
    height, width = (side - 2 * reach for side in padded.shape[1:])
    cells = torch.arange(padded[0].numel(), device=padded.device)
    starts = cells.view(padded.shape[1:])[reach:, reach:][:height, :width]
    path = line_pixels(offset)
    windows = [
        padded[:, reach + y : reach + y + height, reach + x : reach + x + width]
        for y, x in path
    ]
    steps = starts.new_tensor([y * padded.shape[2] + x for y, x in path])
    return starts + steps[torch.stack(windows).max(0).indices]


def displacement_losses(
    displacement: Tensor, targets: PairTargets, offsets: Sequence[Offset]
) -> DisplacementLosses:
    r"""Let displacements point to a common centre, and be one in the background (IRN).

    With :math:`\hat\delta(i, j) = D(x_j) - D(x_i)` and :math:`\delta(i, j) = x_j -
    x_i`,

    .. math::
        L_\mathrm{fg} = \frac{1}{|P^+_\mathrm{fg}|} \sum_{P^+_\mathrm{fg}}
        |\delta - \hat\delta|_1, \qquad
        L_\mathrm{bg} = \frac{1}{|P^+_\mathrm{bg}|} \sum_{P^+_\mathrm{bg}}
        |\hat\delta|_1,

    over pairs of one foreground class and pairs of the background.

    Args:
        displacement: D, (B, 2, h, w), any range, (dy, dx) in pixels of the grid.
        targets: Of the same grid and offsets.
        offsets: P offsets (dy, dx).

    Returns:
        Each >= 0, float32 or wider; 0 without such pairs.

    Raises:
        ValueError: if the shapes disagree.

    Example:
        >>> kinds = (torch.tensor([[[[kind, False]]]]) for kind in (True, False, False))
        >>> displacement = torch.zeros(1, 2, 1, 2)
        >>> displacement_losses(displacement, PairTargets(*kinds), [(0, 1)])
        DisplacementLosses(foreground=tensor(1.), background=tensor(0.))
    """
    check_shape('displacement', displacement, ('B', 2, 'h', 'w'))
    batch, _, height, width = displacement.shape
    for name, kind in zip(targets._fields, targets):
        check_shape(f'targets.{name}', kind, (batch, len(offsets), height, width))
    displacement = widen(displacement)
    foreground = background = displacement.new_zeros(())
    for index, offset in enumerate(offsets):
        found = neighbour_values(displacement, offset, 0.0) - displacement
        wanted = displacement.new_tensor(offset)[:, None, None]
        parts = (
            (wanted - found).abs().sum(1) * targets.foreground[:, index],
            found.abs().sum(1) * targets.background[:, index],
        )
        foreground = foreground + parts[0].sum()
        background = background + parts[1].sum()
    return DisplacementLosses(
        foreground / targets.foreground.sum().clamp_min(1),
        background / targets.background.sum().clamp_min(1),
    )
