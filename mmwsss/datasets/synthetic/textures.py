"""Textured backgrounds, drawn from a generator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmwsss.datasets.synthetic.geometry import Array

Texture = Callable[[int, np.random.Generator], Array]


def smooth_noise(size: int, cells: int, random: np.random.Generator) -> Array:
    """Return (size, size) noise in [0, 1], bilinear between cells x cells knots."""
    knots = random.random((cells + 1, cells + 1))
    place = np.linspace(0, cells, size, endpoint=False)
    low = place.astype(int)
    part = place - low
    rows = knots[low] * (1 - part)[:, None] + knots[low + 1] * part[:, None]
    return rows[:, low] * (1 - part) + rows[:, low + 1] * part


def _grid(size: int) -> tuple[Array, Array]:
    axis = (np.arange(size) + 0.5) / size
    return axis[:, None], axis[None, :]


def _paint(dark: Array | tuple, light: Array | tuple, amount: Array) -> Array:
    return np.asarray(dark) + (np.subtract(light, dark)) * amount[..., None]


def meadow(size: int, random: np.random.Generator) -> Array:
    """Draw dull green with fine and coarse noise."""
    noise = 0.5 * smooth_noise(size, 6, random) + 0.5 * smooth_noise(size, 40, random)
    return _paint((0.38, 0.44, 0.24), (0.62, 0.68, 0.44), noise)


def sand(size: int, random: np.random.Generator) -> Array:
    """Draw pale yellow grains with wide ripples."""
    y, x = _grid(size)
    bend = 0.15 * smooth_noise(size, 4, random)
    ripple = 0.5 + 0.5 * np.sin(2 * np.pi * (7 * (y + bend) + random.random()) + x)
    amount = 0.5 * ripple + 0.5 * random.random((size, size))
    return _paint((0.72, 0.62, 0.44), (0.90, 0.82, 0.64), amount)


def water(size: int, random: np.random.Generator) -> Array:
    """Draw pale blue waves."""
    y, _ = _grid(size)
    bend = 0.2 * smooth_noise(size, 5, random)
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * (9 * (y + bend) + random.random()))
    return _paint((0.48, 0.64, 0.70), (0.74, 0.86, 0.88), wave)


def brick(size: int, random: np.random.Generator) -> Array:
    """Draw a wall of dull red bricks with light joints."""
    y, x = _grid(size)
    row = (y + random.random()) * 8
    column = (x + random.random()) * 4 + 0.5 * (np.floor(row) % 2)
    joint = ((row % 1) < 0.15) | ((column % 1) < 0.08)
    shade = 0.7 * smooth_noise(size, 12, random) + 0.3 * random.random((size, size))
    stones = _paint((0.52, 0.34, 0.30), (0.70, 0.50, 0.44), shade)
    return np.where(joint[..., None], (0.76, 0.73, 0.68), stones)


def planks(size: int, random: np.random.Generator) -> Array:
    """Draw upright boards with a grain and dark gaps."""
    y, x = _grid(size)
    board = (x + random.random()) * 6 + 0 * y
    grain = 0.5 + 0.5 * np.sin(60 * x + 5 * smooth_noise(size, 5, random))
    amount = 0.6 * grain + 0.4 * smooth_noise(size, 8, random)
    wood = _paint((0.60, 0.50, 0.40), (0.78, 0.68, 0.56), amount)
    return np.where(((board % 1) < 0.08)[..., None], (0.36, 0.30, 0.25), wood)


def tiles(size: int, random: np.random.Generator) -> Array:
    """Draw a floor of light and dark grey tiles."""
    y, x = _grid(size)
    dark = (
        np.floor((y + random.random()) * 5) + np.floor((x + random.random()) * 5)
    ) % 2
    amount = 0.55 * dark + 0.45 * smooth_noise(size, 16, random)
    return _paint((0.80, 0.80, 0.78), (0.52, 0.54, 0.56), amount)


TEXTURES: dict[str, Texture] = {
    'meadow': meadow,
    'sand': sand,
    'water': water,
    'brick': brick,
    'planks': planks,
    'tiles': tiles,
}
