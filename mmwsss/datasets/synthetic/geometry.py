"""Signed distances to plane shapes: negative inside, 0 on the outline.

Points are (..., 2) arrays of (u, v) and distances (...), both in units of the object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Distance = Callable[[Array], Array]
Point = tuple[float, float]


def _length(vectors: Array) -> Array:
    return np.hypot(vectors[..., 0], vectors[..., 1])


def disc(centre: Point, radius: float) -> Distance:
    """Return the distance to a disc."""
    return lambda points: _length(points - np.asarray(centre)) - radius


def ring(centre: Point, radius: float, width: float) -> Distance:
    """Return the distance to a ring of the given mean radius and width."""
    inner = disc(centre, radius)
    return lambda points: np.abs(inner(points)) - width / 2


def capsule(start: Point, end: Point, radius: float) -> Distance:
    """Return the distance to a segment thickened by ``radius``."""
    first, axis = np.asarray(start), np.subtract(end, start)

    def distance(points: Array) -> Array:
        offset = points - first
        along = np.clip(offset @ axis / (axis @ axis), 0.0, 1.0)
        return _length(offset - along[..., None] * axis) - radius

    return distance


def rounded_box(centre: Point, half: Point, radius: float) -> Distance:
    """Return the distance to a box of half sizes ``half`` with rounded corners."""
    core = np.subtract(half, radius)

    def distance(points: Array) -> Array:
        excess = np.abs(points - np.asarray(centre)) - core
        outside = _length(np.maximum(excess, 0.0))
        return (
            outside
            + np.minimum(np.maximum(excess[..., 0], excess[..., 1]), 0.0)
            - radius
        )

    return distance


def ellipse(centre: Point, half: Point) -> Distance:
    """Return a first-order distance to an ellipse, exact in sign and on the outline."""
    axes = np.asarray(half)

    def distance(points: Array) -> Array:
        offset = points - np.asarray(centre)
        level = _length(offset / axes)
        slope = _length(offset / axes**2)
        steep = level * (level - 1.0) / np.maximum(slope, np.finfo(float).tiny)
        return np.where(level > 0, steep, -axes.min())

    return distance


def polygon(corners: Sequence[Point]) -> Distance:
    """Return the distance to a simple polygon, convex or not."""
    vertices = np.asarray(corners, dtype=float)

    def distance(points: Array) -> Array:
        nearest = np.full(points.shape[:-1], np.inf)
        inside = np.zeros(points.shape[:-1], dtype=bool)
        for here, there in zip(vertices, np.roll(vertices, -1, axis=0)):
            nearest = np.minimum(nearest, capsule(here, there, 0.0)(points))
            low, high = here[1] > points[..., 1], there[1] > points[..., 1]
            # an edge without height crosses no horizontal ray
            rise = there[1] - here[1] or 1.0
            crossing = (there[0] - here[0]) * (points[..., 1] - here[1]) / rise
            inside ^= (low != high) & (points[..., 0] < crossing + here[0])
        return np.where(inside, -nearest, nearest)

    return distance


def star(centre: Point, outer: float, inner: float, tips: int) -> Distance:
    """Return the distance to a star with ``tips`` tips."""
    angles = np.arange(2 * tips) * np.pi / tips
    radii = np.where(np.arange(2 * tips) % 2 == 0, outer, inner)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return polygon(directions * radii[:, None] + np.asarray(centre))
