"""What a trained network finds in an image, as a row of pictures."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mmwsss.visualization.examples import Example, Painter, Picture, examples_figure
from mmwsss.visualization.overlays import Pixels, heat_overlay

PICTURES_A_LINE = 6
PICTURE_INCHES = 3.0
LINE_INCHES = 0.16
TITLE_LETTERS = 40
MARK_COLOURS = ((255, 255, 255), (0, 0, 0))
"""Of the mark of a point and of its rim."""
MARKS_PER_SIDE = 40


@dataclass(frozen=True, eq=False)
class Prediction:
    """What was found in an image of (H, W) pixels.

    Args:
        name: Tells it from the others.
        path: Its file or URL; None for an array.
        image: (H, W, 3) RGB.
        tags: Names of its classes, in the data set's order.
        tags_given: Whether the tags were given, and not found.
        scores: Probability in [0, 1] of every class; none of a segmentor.
        localization: (k, H, W) float32 in [0, 1], a map of each tag; None of a
            segmentor.
        seeds: (H, W), the maps at the background threshold, 0 = background and else
            the place of the class behind it; None of a segmentor.
        label: (H, W), pseudo label or a segmentor's prediction, 255 = undecided.
        point: (column, row) in pixels whose affinity was asked for.
        affinity: (H, W) float32 in [0, 1], what attention joins to that point.
        sample: The network's own data sample.
    """

    name: str
    path: str | None
    image: Pixels
    tags: tuple[str, ...]
    tags_given: bool
    scores: Mapping[str, float]
    localization: NDArray[np.float32] | None
    seeds: Pixels | None
    label: Pixels
    point: tuple[float, float] | None = None
    affinity: NDArray[np.float32] | None = None
    sample: Any = None

    def as_dict(self) -> dict[str, Any]:
        """Return all of it but the sample."""
        return {name: value for name, value in vars(self).items() if name != 'sample'}

    def summary(self) -> dict[str, Any]:
        """Return what JSON can hold: names and numbers, no pixels."""
        names = ('name', 'path', 'tags', 'tags_given', 'scores', 'point')
        found = {name: getattr(self, name) for name in names}
        return found | dict(tags=list(self.tags), scores=dict(self.scores))


def draw_prediction(painter: Painter, prediction: Prediction) -> Example:
    """Draw the image, the map of each tag, seeds, label, and affinity where asked for.

    Raises:
        ValueError: if a label has no colour.
    """
    image = prediction.image
    source = 'given' if prediction.tags_given else 'found'
    tags = f'tags {source}: {", ".join(prediction.tags) or "none"}'
    title = '\n'.join(textwrap.wrap(tags, TITLE_LETTERS))
    pictures = [Picture(title, f'The image. Its {tags}.', image)]
    if prediction.localization is not None:
        for tag, scores in zip(prediction.tags, prediction.localization):
            named = f'{tag} {prediction.scores[tag]:.2f}'
            about = f'Localization map of {tag}, probability '
            about += f'{prediction.scores[tag]:.2f}, over the image.'
            pictures.append(Picture(named, about, heat_overlay(image, scores)))
    if prediction.seeds is None:
        pictures.append(painter.labels('prediction', image, prediction.label))
    else:
        pictures.append(painter.labels('seeds', image, prediction.seeds))
        pictures.append(painter.labels('pseudo label', image, prediction.label))
    if prediction.affinity is not None and prediction.point is not None:
        heat = heat_overlay(image, prediction.affinity)
        named = 'affinity of {:g} {:g}'.format(*prediction.point)
        about = f'The {named} (column, row) over the image.'
        pictures.append(Picture(named, about, mark_point(heat, prediction.point)))
    return Example(prediction.name, tags, tuple(pictures))


def mark_point(image: Pixels, point: tuple[float, float]) -> Pixels:
    """Return the image with a square at a point, white with a black rim.

    Args:
        image: (H, W, 3) RGB.
        point: (column, row) in pixels.
    """
    marked = image.copy()
    reach = max(1, max(image.shape[:2]) // (2 * MARKS_PER_SIDE))
    column, row = map(int, point)
    colour, rim = MARK_COLOURS
    for shade, distance in ((rim, reach + max(1, reach // 2)), (colour, reach)):
        top, left = max(0, row - distance), max(0, column - distance)
        marked[top : row + distance + 1, left : column + distance + 1] = shade
    return marked


def prediction_figure(example: Example) -> Figure:
    """Lay the pictures of an image out, several a line."""
    parts = [
        example.pictures[start : start + PICTURES_A_LINE]
        for start in range(0, len(example.pictures), PICTURES_A_LINE)
    ]
    figure = examples_figure([Example(example.name, example.tags, p) for p in parts])
    rows, columns = example.pictures[0].pixels.shape[:2]
    height = PICTURE_INCHES * min(2.0, max(0.5, rows / columns))
    titles = [max(p.title.count('\n') + 2 for p in part) for part in parts]
    figure.set_size_inches(
        len(parts[0]) * PICTURE_INCHES,
        len(parts) * height + sum(titles) * LINE_INCHES,
    )
    return figure


def figure_pixels(figure: Figure) -> Pixels:
    """Return a figure as (H, W, 3) RGB."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
