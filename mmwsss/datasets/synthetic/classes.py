"""The classes of the embedded data set: three bodies, two classes each.

The two classes of a pair share the body, in the same family of colours, and differ
in a small marker alone; so tags teach a classifier the marker, and its maps miss
most of the object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mmwsss.datasets.synthetic.geometry import (
    Array,
    Distance,
    capsule,
    disc,
    ellipse,
    polygon,
    ring,
    rounded_box,
    star,
)

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """A shape of one colour.

    Args:
        distance: Signed distance in units of the object.
        colour: RGB in [0, 1].
        stripes: Stripes across the object: their number a unit, 0 for none.
    """

    distance: Distance
    colour: Colour
    stripes: float = 0.0


@dataclass(frozen=True)
class ObjectClass:
    """A class of objects, pointing along +u, about from -1 to 1.

    Args:
        name: Name in tag lists and metainfo.
        colour: RGB in 0..255 of its label.
        body: The large part shared with the class's pair.
        marker: The small parts that tell it from its pair, drawn over the body.
        home: The background it is often seen on, or None.
    """

    name: str
    colour: tuple[int, int, int]
    body: Part
    marker: tuple[Part, ...]
    home: str | None = None

    def outline(self, points: Array) -> Array:
        """Return the signed distance to the union of all parts, in its units."""
        parts = (self.body, *self.marker)
        return np.min([part.distance(points) for part in parts], axis=0)

    def marker_outline(self, points: Array) -> Array:
        """Return the signed distance to the marker, in units of the object."""
        return np.min([part.distance(points) for part in self.marker], axis=0)


HANDLE = Part(capsule((-0.72, 0.0), (0.42, 0.0), 0.27), (0.58, 0.36, 0.20))
CASE = Part(rounded_box((-0.05, 0.0), (0.8, 0.52), 0.16), (0.36, 0.46, 0.66))
SHELL = Part(ellipse((-0.15, 0.0), (0.78, 0.6)), (0.25, 0.52, 0.28), stripes=2.6)

FLAME = (
    Part(polygon([(0.6, 0.27), (1.08, 0.0), (0.6, -0.27)]), (0.96, 0.45, 0.10)),
    Part(disc((0.63, 0.0), 0.26), (0.96, 0.45, 0.10)),
    Part(disc((0.63, 0.0), 0.14), (1.0, 0.90, 0.30)),
)
BRISTLES = (
    Part(
        polygon([(0.55, 0.26), (1.02, 0.36), (1.02, -0.36), (0.55, -0.26)]),
        (0.15, 0.30, 0.85),
    ),
    Part(capsule((0.55, 0.26), (0.55, -0.26), 0.05), (0.85, 0.85, 0.88)),
)
LENS = (
    Part(disc((0.38, 0.0), 0.29), (0.93, 0.93, 0.95)),
    Part(disc((0.38, 0.0), 0.18), (0.06, 0.06, 0.10)),
)
AERIAL = (
    Part(capsule((0.6, 0.3), (1.08, 0.3), 0.08), (0.12, 0.12, 0.12)),
    Part(disc((1.02, 0.3), 0.15), (0.90, 0.12, 0.15)),
    Part(rounded_box((0.38, -0.1), (0.22, 0.14), 0.04), (0.95, 0.80, 0.25)),
)
FLOWER = (
    Part(star((0.74, 0.0), 0.36, 0.19, 5), (0.95, 0.35, 0.65)),
    Part(disc((0.74, 0.0), 0.12), (1.0, 0.92, 0.55)),
)
HEAD = (
    Part(disc((0.72, 0.0), 0.25), (0.20, 0.08, 0.28)),
    Part(capsule((0.85, 0.12), (1.1, 0.32), 0.055), (0.20, 0.08, 0.28)),
    Part(capsule((0.85, -0.12), (1.1, -0.32), 0.055), (0.20, 0.08, 0.28)),
)

CLASSES = (
    ObjectClass('torch', (220, 110, 20), HANDLE, FLAME, home='brick'),
    ObjectClass('brush', (40, 70, 200), HANDLE, BRISTLES),
    ObjectClass('camera', (120, 120, 130), CASE, LENS),
    ObjectClass('radio', (200, 30, 60), CASE, AERIAL, home='planks'),
    ObjectClass('cactus', (20, 160, 60), SHELL, FLOWER, home='sand'),
    ObjectClass('beetle', (110, 40, 140), SHELL, HEAD),
)

COMPANIONS = {'torch': 'beetle', 'beetle': 'torch', 'camera': 'cactus'}
"""Classes that are often seen together (first: seen with)."""

DISTRACTORS: tuple[Distance, ...] = (
    star((0.0, 0.0), 1.0, 0.45, 4),
    ring((0.0, 0.0), 0.75, 0.4),
    polygon([(1.0, 0.0), (-0.6, 0.8), (-0.6, -0.8)]),
    polygon([(-1, -0.3), (0, 0.2), (1, -0.3), (1, 0.2), (0, 0.7), (-1, 0.2)]),
    rounded_box((0.0, 0.0), (0.95, 0.2), 0.05),
)
"""Shapes of things that belong to no class."""

SYNTHETIC_METAINFO: dict[str, Any] = dict(
    classes=('background', *(item.name for item in CLASSES)),
    palette=[[0, 0, 0], *(list(item.colour) for item in CLASSES)],
)
"""Metainfo of the embedded data set for mmseg's datasets, background first."""
