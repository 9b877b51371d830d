"""Pairs of near pixels: which belong together, and how a network is taught it.

A pair is a pixel and one of its offsets; ``half_disc_offsets`` names each pair of a
disc once. Values of pairs are (B, P, h, w): entry p at (y, x) is of the pixels (y, x)
and (y + dy_p, x + dx_p).
"""

from collections.abc import Sequence
from types import EllipsisType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmwsss.functional.checks import check_shape
from mmwsss.functional.vectors import widen

BACKGROUND = 0
Window = tuple[EllipsisType, slice, slice]


class PairTargets(NamedTuple):
    """Which pairs are of one label and which are not; each (B, P, h, w) bool."""

    foreground: Tensor
    """Both pixels are of one object class."""
    background: Tensor
    """Both pixels are background."""
    different: Tensor
    """The pixels' labels differ."""


def half_disc_offsets(radius: float) -> list[tuple[int, int]]:
    """List one offset of each pair of opposite ones in a disc, its centre left out.

    Args:
        radius: In pixels; offsets of this length and beyond are left out (PSA: 5).

    Returns:
        P offsets (dy, dx), row by row, with dy > 0, or dy = 0 and dx > 0.

    Example:
        >>> half_disc_offsets(2)
        [(0, 1), (1, -1), (1, 0), (1, 1)]
    """
    reach = int(radius)
    return [
        (dy, dx)
        for dy in range(reach + 1)
        for dx in range(-reach, reach + 1)
        if (dy, dx) > (0, 0) and dy**2 + dx**2 < radius**2
    ]


def neighbour_values(planes: Tensor, offset: tuple[int, int], fill: float) -> Tensor:
    """Return at each pixel the value of its neighbour.

    Args:
        planes: (..., h, w), any dtype.
        offset: (dy, dx) of the neighbour in pixels, of any sign.
        fill: Value where the neighbour is outside.

    Returns:
        (..., h, w).

    Example:
        >>> neighbour_values(torch.tensor([[1, 2, 3], [4, 5, 6]]), (1, -1), 0)
        tensor([[0, 4, 5],
                [0, 0, 0]])
    """
    own, other = _overlap(planes, offset)
    found = torch.full_like(planes, fill)
    found[own] = planes[other]
    return found


def pair_targets(
    labels: Tensor, offsets: Sequence[tuple[int, int]], *, ignore_index: int = 255
) -> PairTargets:
    """Tell pairs of equal labels from pairs of different ones (PSA, section 3.2.1).

    Args:
        labels: (B, h, w) integer, 0 = background.
        offsets: P offsets (dy, dx).
        ignore_index: Label of undecided pixels.

    Returns:
        Masks (B, P, h, w); a pair with an undecided or an outside pixel is in none.

    Raises:
        ValueError: if ``labels`` has not three axes.

    Example:
        >>> targets = pair_targets(torch.tensor([[[0, 0, 7, 255]]]), [(0, 1)])
        >>> [mask.int().flatten().tolist() for mask in targets]
        [[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]]
    """
    check_shape('labels', labels, ('B', 'h', 'w'))
    others = torch.stack(
        [neighbour_values(labels, offset, ignore_index) for offset in offsets], 1
    )
    own = labels[:, None]
    known = (own != ignore_index) & (others != ignore_index)
    same = known & (own == others)
    background = own == BACKGROUND
    return PairTargets(same & ~background, same & background, known & (own != others))


def pair_affinity_loss(
    affinity: Tensor, targets: PairTargets, *, eps: float = 1e-5
) -> Tensor:
    r"""Cross entropy of affinities, balanced over three kinds of pairs (PSA, eq. 7-10).

    .. math::
        L = \frac{1}{4} \operatorname{mean}_{\mathrm{fg}} (-\log a)
          + \frac{1}{4} \operatorname{mean}_{\mathrm{bg}} (-\log a)
          + \frac{1}{2} \operatorname{mean}_{\mathrm{different}} (-\log (1 - a)),

    each mean over all pairs of the batch. IRN's loss (eq. 5) is twice it.

    Args:
        affinity: (B, P, h, w) in [0, 1].
        targets: Of :func:`pair_targets` for the same offsets.
        eps: Keeps logarithms finite: a counts as (a + eps) / (1 + eps).

    Returns:
        Scalar, >= 0, float32 or wider; a kind without pairs adds 0.

    Raises:
        ValueError: if the shapes disagree.

    Example:
        >>> targets = pair_targets(torch.tensor([[[0, 0, 7, 7]]]), [(0, 1)])
        >>> affinity = torch.tensor([0.5, 0.5, 1.0, 0.0]).view(1, 1, 1, 4)
        >>> pair_affinity_loss(affinity, targets)
        tensor(0.5199)
    """
    for name, mask in targets._asdict().items():
        check_shape(name, mask, tuple(affinity.shape))
    affinity = widen(affinity)
    together = -((affinity + eps) / (1 + eps)).log()
    apart = -((1 - affinity + eps) / (1 + eps)).log()
    return (
        _mean_where(targets.foreground, together) / 4
        + _mean_where(targets.background, together) / 4
        + _mean_where(targets.different, apart) / 2
    )


def feature_affinity(features: Tensor, offsets: Sequence[tuple[int, int]]) -> Tensor:
    r"""Affinity of pairs from the distance of their features (PSA, eq. 2).

    :math:`a_{ij} = \exp(-\frac{1}{C} \sum_c |f_{ic} - f_{jc}|)`. The paper prints the
    sum over channels; the mean, which its release takes, does not depend on their
    number.

    Args:
        features: (B, C, h, w).
        offsets: P offsets (dy, dx).

    Returns:
        (B, P, h, w) in [0, 1]; 0 for a pair with an outside pixel.

    Raises:
        ValueError: if ``features`` has not four axes.

    Example:
        >>> features = torch.tensor([[[[0.0, 0.0, 2.0]]]])
        >>> feature_affinity(features, [(0, 1)])
        tensor([[[[1.0000, 0.1353, 0.0000]]]])
    """
    check_shape('features', features, ('B', 'C', 'h', 'w'))
    return (-_PairDistance.apply(features, tuple(offsets))).exp()


def labels_on_grid(labels: Tensor, stride: int, *, ignore_index: int = 255) -> Tensor:
    """Give each cell of a grid the label of most of its pixels.

    Args:
        labels: (B, H, W) integer.
        stride: Side of a cell in pixels; cells that stick out are filled with
            undecided pixels.
        ignore_index: Label of undecided pixels.

    Returns:
        (B, ceil(H / stride), ceil(W / stride)), undecided where no label has more than
        half of a cell.

    Raises:
        ValueError: if ``labels`` has not three axes, or ``stride`` is below 1.

    Example:
        >>> labels_on_grid(torch.tensor([[[7, 7, 0, 7], [7, 0, 0, 7]]]), 2)
        tensor([[[  7, 255]]])
    """
    check_shape('labels', labels, ('B', 'H', 'W'))
    if stride < 1:
        raise ValueError(f'stride: expected >= 1, got {stride}')
    missing = [-size % stride for size in labels.shape[1:]]
    padded = F.pad(labels, (0, missing[1], 0, missing[0]), value=ignore_index)
    cells = padded.unflatten(2, (-1, stride)).unflatten(1, (-1, stride))
    pixels = cells.permute(2, 4, 0, 1, 3).flatten(0, 1)
    # Boyer and Moore's vote: a label with more than half survives all the others
    winner, lead = pixels[0], torch.zeros_like(pixels[0])
    for pixel in pixels:
        winner = torch.where(lead == 0, pixel, winner)
        lead = lead + 2 * (pixel == winner) - 1
    has_most = 2 * (pixels == winner).sum(0) > len(pixels)
    return torch.where(has_most, winner, ignore_index)


class _PairDistance(torch.autograd.Function):
    """Mean absolute difference of the features of pairs, infinite outside.

    Autograd would keep the differences of all pairs, P times the features.
    """

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, offsets: tuple[tuple[int, int], ...]
    ) -> Tensor:
        ctx.offsets = offsets
        ctx.save_for_backward(features)
        count, _, height, width = features.shape
        found = features.new_full((count, len(offsets), height, width), torch.inf)
        for index, offset in enumerate(offsets):
            own, other = _overlap(features, offset)
            apart = features[own] - features[other]
            found[:, index][own] = apart.abs_().mean(1)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (features,) = ctx.saved_tensors
        total = torch.zeros_like(features)
        share = gradient / features.shape[1]
        for index, offset in enumerate(ctx.offsets):
            own, other = _overlap(features, offset)
            step = (features[own] - features[other]).sign_()
            step *= share[:, index][own].unsqueeze(1)
            total[own] += step
            total[other] -= step
        return total, None


def _overlap(planes: Tensor, offset: tuple[int, int]) -> tuple[Window, Window]:
    """Return where pixels have a neighbour, and where those neighbours are."""
    own, other = [], []
    for size, step in zip(planes.shape[-2:], offset):
        step = max(-size, min(size, step))
        own.append(slice(max(0, -step), size - max(0, step)))
        other.append(slice(max(0, step), size - max(0, -step)))
    return (..., own[0], own[1]), (..., other[0], other[1])


def _mean_where(mask: Tensor, values: Tensor) -> Tensor:
    """Return the mean of some values, 0 if there are none."""
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)
