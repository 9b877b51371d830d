"""Maps and labels drawn over images, as arrays and as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

IGNORED_LABEL = 255
BACKGROUND_LABEL = 0
HEAT_COLOURS = 'inferno'
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601
MAX_VALUE = 255
STRIPE_COLOURS = ((235, 235, 235), (90, 90, 90))
STRIPES_PER_SIDE = 12
SMALLEST_PERIOD = 4
JPEG_QUALITY = 92
MAX_SIDE = 320


def heat_overlay(
    image: Pixels, scores: NDArray[np.floating], *, opacity: float = 0.65
) -> Pixels:
    """Draw a map as heat over the grey image.

    Args:
        image: (H, W, 3) RGB.
        scores: (H, W) in [0, 1].
        opacity: Share of the heat in [0, 1].

    Returns:
        (H, W, 3) RGB; dark is 0, light is 1.

    Raises:
        ValueError: if the sizes differ.
    """
    _check_size(image, scores, 'scores')
    heat = colormaps[HEAT_COLOURS](np.clip(scores, 0, 1))[..., :3] * MAX_VALUE
    return _blend(_grey(image), heat, np.full(scores.shape, opacity))


def label_overlay(
    image: Pixels,
    labels: Pixels,
    palette: Sequence[Sequence[int]],
    *,
    opacity: float = 0.7,
    background_brightness: float = 0.55,
) -> Pixels:
    """Draw labels in their colours over the grey image.

    The background is the darkened image, undecided pixels (255) are striped.

    Args:
        image: (H, W, 3) RGB.
        labels: (H, W), 0 = background, 255 = undecided.
        palette: RGB in 0..255 of each label, the background first.
        opacity: Share of the colour in [0, 1].
        background_brightness: Factor of the image where it is background.

    Returns:
        (H, W, 3) RGB.

    Raises:
        ValueError: if the sizes differ or a label has no colour.
    """
    _check_size(image, labels, 'labels')
    unknown = labels[(labels >= len(palette)) & (labels != IGNORED_LABEL)]
    if len(unknown):
        raise ValueError(
            f'labels: expected 0..{len(palette) - 1} or {IGNORED_LABEL}, '
            f'got {unknown.min()}'
        )
    grey = _grey(image)
    grey[labels == BACKGROUND_LABEL] *= background_brightness
    colours = np.zeros((IGNORED_LABEL + 1, 3))
    colours[: len(palette)] = palette
    undecided = (labels == IGNORED_LABEL)[..., None]
    layer = np.where(undecided, _stripes(labels.shape), colours[labels])
    return _blend(grey, layer, np.where(labels == BACKGROUND_LABEL, 0.0, opacity))


def data_uri(pixels: Pixels, *, max_side: int = MAX_SIDE) -> str:
    """Return a picture as a data URI, made smaller where it is larger.

    Args:
        pixels: (H, W, 3) RGB.
        max_side: Longest side in pixels.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((max_side, max_side))
    buffer = io.BytesIO()
    image.save(buffer, 'JPEG', quality=JPEG_QUALITY, subsampling=0)
    return encode_uri(buffer.getvalue(), 'image/jpeg')


def encode_uri(content: bytes, media_type: str) -> str:
    """Return a file's bytes as a data URI."""
    return f'data:{media_type};base64,{base64.b64encode(content).decode()}'


def _check_size(image: Pixels, other: NDArray, name: str) -> None:
    if image.shape != (*other.shape, 3):
        raise ValueError(
            f'{name}: expected (H, W) of the image {image.shape}, got {other.shape}'
        )


def _grey(image: Pixels) -> NDArray[np.float64]:
    return np.repeat((image @ np.array(LUMINANCE))[..., None], 3, axis=2)


def _blend(below: NDArray, above: NDArray, opacity: NDArray) -> Pixels:
    share = opacity[..., None]
    return np.rint(below * (1 - share) + above * share).astype(np.uint8)


def _stripes(size: tuple[int, ...]) -> NDArray[np.float64]:
    """Return diagonal stripes (H, W, 3), as many on small images as on large ones."""
    period = max(SMALLEST_PERIOD, max(size) // STRIPES_PER_SIDE)
    rows, columns = np.indices(size)
    odd = (rows + columns) % period < period // 2
    light, dark = np.array(STRIPE_COLOURS, float)
    return np.where(odd[..., None], light, dark)
