"""K-means of the rows of every class at once, on their device."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mmwsss.functional.checks import check_shape
from mmwsss.functional.vectors import full_precision, unit, widen

INITS = ('k-means++', 'farthest')
WEIGHT_OF_NONE = 1e-300
"""Keeps rows that equal a centre drawable, after all others."""


class Clusters(NamedTuple):
    """Clusters of each class; zeros where a class is not ready.

    Attributes:
        centres: (C, P, D) in float32 or wider, in no particular order.
        ready: (C,) bool, whether the class had a valid row for each cluster.
        inertia: (C,), sum of the squared distances of valid rows to their centres.
    """

    centres: Tensor
    ready: Tensor
    inertia: Tensor


@torch.no_grad()
def kmeans(
    rows: Tensor,
    valid: Tensor,
    *,
    num_clusters: int,
    generator: torch.Generator,
    init: str = 'k-means++',
    spherical: bool = False,
    iterations: int = 100,
    restarts: int = 4,
) -> Clusters:
    """Cluster the valid rows of each class (RCA, section 3.3).

    Lloyd's iterations from several starts, of which each class keeps its best. A
    cluster left empty moves to the row farthest from its centre. The same generator
    state gives the same bits on the same device.

    Args:
        rows: (C, L, D), any range.
        valid: (C, L) bool, rows that take part.
        num_clusters: P, clusters of each class.
        generator: CPU generator of the starts.
        init: ``k-means++``, of 2 + ln P rows drawn by their squared distance to the
            centres so far the one that leaves the least inertia; ``farthest``, the
            farthest row each time, after a random first.
        spherical: Whether directions are clustered: rows and centres of length 1.
        iterations: Most iterations from each start.
        restarts: Number of starts.

    Returns:
        Centres, readiness and inertia of each class.

    Raises:
        ValueError: if shapes or types disagree, ``init`` is unknown or a number is
            below 1.

    Example:
        >>> rows = torch.tensor([[[0.0], [2.0], [10.0], [12.0]]])
        >>> every, generator = torch.ones(1, 4).bool(), torch.Generator()
        >>> found = kmeans(rows, every, num_clusters=2, generator=generator)
        >>> found.centres.flatten().sort().values, found.inertia
        (tensor([ 1., 11.]), tensor([4.]))
    """
    check_shape('rows', rows, ('C', 'L', 'D'))
    check_shape('valid', valid, rows.shape[:2])
    if valid.dtype != torch.bool:
        raise ValueError(f'valid: expected bool, got {valid.dtype}')
    if init not in INITS:
        raise ValueError(f'init: expected one of {INITS}, got {init!r}')
    numbers = dict(num_clusters=num_clusters, iterations=iterations, restarts=restarts)
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f'{name}: expected 1 or more, got {number}')
    classes, slots, channels = rows.shape
    ready = valid.sum(1) >= num_clusters
    points, origin = _prepare(rows, valid, spherical)
    centres = points.new_zeros(classes, num_clusters, channels)
    inertia = points.new_full((classes,), torch.inf)
    for _ in range(restarts if slots >= num_clusters else 0):
        found = _start(points, valid, num_clusters, generator, init)
        found = _lloyd(points, valid & ready[:, None], found, iterations, spherical)
        cost = _inertia(points, valid, found)
        better = cost < inertia
        centres = torch.where(better[:, None, None], found, centres)
        inertia = torch.where(better, cost, inertia)
    centres = (centres + origin).masked_fill(~ready[:, None, None], 0)
    return Clusters(centres, ready, inertia.masked_fill(~ready, 0))


def _prepare(rows: Tensor, valid: Tensor, spherical: bool) -> tuple[Tensor, Tensor]:
    """Points (C, L, D), 0 where invalid, and the origin (C, 1, D) they count from."""
    taken = valid[:, :, None]
    points = widen(rows).masked_fill(~taken, 0)
    if spherical:
        return unit(points), points.new_zeros(len(points), 1, 1)
    # squared distances by products lose digits far from the origin
    origin = points.sum(1, keepdim=True) / taken.sum(1, keepdim=True).clamp_min(1)
    return (points - origin).masked_fill(~taken, 0), origin


def _start(
    points: Tensor,
    valid: Tensor,
    clusters: int,
    generator: torch.Generator,
    init: str,
    candidates: int | None = None,
) -> Tensor:
    """Rows (C, P, D) to begin with; of several candidates the best is taken."""
    size = (clusters, *valid.shape)
    draws = torch.empty(size, dtype=torch.float64).exponential_(generator=generator)
    draws, squares = draws.to(points.device), _squares(points)
    every_class = torch.arange(len(points), device=points.device)
    smallest = torch.ones_like(draws[0])
    trials = 1 if init == 'farthest' else candidates or 2 + int(math.log(clusters))
    centres: list[Tensor] = []
    for draw in draws:
        # of exponential draws over weights the least falls on each row with a
        # probability in proportion to its weight; rows of weight 0 come last
        key = draw / (smallest + WEIGHT_OF_NONE)
        if init == 'farthest' and centres:
            key = -smallest
        key = key.masked_fill(~valid, torch.inf)
        count = min(trials, valid.shape[1]) if centres else 1
        picks = key.topk(count, 1, largest=False).indices
        rows = points[every_class[:, None], picks]
        distances = _distances(points, squares, rows).double()
        if centres:
            distances = torch.minimum(smallest[:, :, None], distances)
        left = distances.masked_fill(~valid[:, :, None], 0).sum(1)
        left = left.masked_fill(~valid.gather(1, picks), torch.inf)
        best = left.argmin(1)
        smallest = distances[every_class, :, best]
        centres.append(rows[every_class, best])
    return torch.stack(centres, 1)


def _lloyd(
    points: Tensor, taken: Tensor, centres: Tensor, iterations: int, spherical: bool
) -> Tensor:
    """Centres (C, P, D) once no row changes its cluster."""
    found, places = centres.clone(), torch.arange(len(centres), device=centres.device)
    nearest, squares = torch.full_like(taken, -1, dtype=torch.long), _squares(points)
    for _ in range(iterations):
        before = nearest
        smallest, nearest = _distances(points, squares, centres).min(2)
        moving = ((nearest != before) & taken).any(1)
        count = int(moving.sum())
        if 2 * count <= len(moving):
            # the copy is worth it once half of the classes have come to rest
            found[places] = centres
            places, points, squares, taken, centres, smallest, nearest = (
                part[moving]
                for part in (places, points, squares, taken, centres, smallest, nearest)
            )
        if count == 0:
            break
        centres = _means(points, taken, nearest, smallest, centres.shape[1], spherical)
    found[places] = centres
    return found


def _means(
    points: Tensor,
    taken: Tensor,
    nearest: Tensor,
    smallest: Tensor,
    clusters: int,
    spherical: bool,
) -> Tensor:
    """Centres (C, P, D) of the rows' clusters; empty ones move to the farthest rows."""
    every_cluster = torch.arange(clusters, device=points.device)
    members = ((nearest[:, :, None] == every_cluster) & taken[:, :, None]).mT
    counts = members.sum(2)
    with full_precision(points):
        sums = members.to(points.dtype) @ points
    means = unit(sums) if spherical else sums / counts.clamp_min(1)[:, :, None]
    far = smallest.masked_fill(~taken, -1).topk(clusters, 1).indices
    empty = counts == 0
    moved = far.gather(1, (empty.cumsum(1) - 1).clamp_min(0))
    every_class = torch.arange(len(points), device=points.device)[:, None]
    return torch.where(empty[:, :, None], points[every_class, moved], means)


def _squares(points: Tensor) -> Tensor:
    """Squared lengths (C, L)."""
    return torch.linalg.vecdot(points, points)


def _distances(points: Tensor, squares: Tensor, centres: Tensor) -> Tensor:
    """Squared distances (C, L, P) >= 0 of points of these squared lengths."""
    with full_precision(points):
        products = points @ centres.mT
    lengths = squares[:, :, None] + _squares(centres)[:, None]
    return (lengths - 2 * products).clamp_min(0)


def _inertia(points: Tensor, valid: Tensor, centres: Tensor) -> Tensor:
    """Summed squared distances (C,), by differences: products would lose digits."""
    nearest = _distances(points, _squares(points), centres).argmin(2)
    every_class = torch.arange(len(points), device=points.device)[:, None]
    squares = (points - centres[every_class, nearest]).square().sum(2)
    return squares.masked_fill(~valid, 0).sum(1)
