"""Rows of many channels in the plane in which they differ most."""

from typing import NamedTuple

import torch
from torch import Tensor

from mmwsss.functional.checks import check_shape


class Plane(NamedTuple):
    """A plane through the mean of rows, and how much of them it shows."""

    mean: Tensor
    """(D,) float64."""
    axes: Tensor
    """(2, D) float64, orthogonal, of length 1 (the second 0 where D is 1)."""
    shares: Tensor
    """(2,) float64 in [0, 1], each axis's part of the variance."""

    def project(self, rows: Tensor) -> Tensor:
        """Return the places (..., 2) of rows (..., D) in the plane, float64."""
        return (rows.to(self.mean) - self.mean) @ self.axes.T


def principal_plane(rows: Tensor) -> Plane:
    r"""Find the plane that keeps most of the variance (principal components).

    Its axes are the eigenvectors :math:`v` of the two largest eigenvalues
    :math:`\lambda` of :math:`\frac1n \sum_i (x_i - \bar x)(x_i - \bar x)^\top`, each
    with the sign that makes its largest entry positive; the share of an axis is
    :math:`\lambda / \sum \lambda`. No number is drawn: equal rows give equal planes.

    Args:
        rows: (n, D), any scale, on any device.

    Returns:
        The plane, on the rows' device; shares are 0 where all rows are equal.

    Raises:
        ValueError: if ``rows`` has not two axes, or there is no row or channel.

    Example:
        >>> rows = torch.tensor([[0.0, 1.0], [4.0, 1.0], [2.0, 2.0], [2.0, 0.0]])
        >>> plane = principal_plane(rows)
        >>> plane.project(rows).tolist()
        [[-2.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
        >>> plane.shares.tolist()
        [0.8, 0.2]
    """
    check_shape('rows', rows, ('n', 'D'))
    if 0 in rows.shape:
        raise ValueError(f'rows: expected at least one, got shape {tuple(rows.shape)}')
    exact = rows.detach().double()
    mean = exact.mean(0)
    centred = exact - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(rows))
    axes, kept = vectors.T.flip(0)[:2], values.clamp_min(0).flip(0)[:2]
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    axes = axes * torch.where(largest < 0, -1.0, 1.0)
    if len(axes) == 1:
        axes, kept = (
            torch.cat([part, torch.zeros_like(part)]) for part in (axes, kept)
        )
    total = centred.square().sum(1).mean()
    return Plane(mean, axes, kept / total if total > 0 else torch.zeros_like(kept))
