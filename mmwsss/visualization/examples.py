"""Rows of pictures that show what each stage makes of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray
from torch import Tensor

from mmwsss.functional.localization import maps_to_image
from mmwsss.functional.seeds import label_map
from mmwsss.structures.seed_record import SeedRecord
from mmwsss.visualization.overlays import (
    IGNORED_LABEL,
    Pixels,
    heat_overlay,
    label_overlay,
)

UNDECIDED = 'undecided'
CELL_INCHES = 1.3
TITLE_INCHES = 0.22
FIGURE_DPI = 100
TITLE_SIZE = 8
GAP_INCHES = 0.03


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of a row.

    Args:
        title: A word or two.
        description: The same for those who cannot see it.
        pixels: (H, W, 3) RGB.
    """

    title: str
    description: str
    pixels: Pixels


@dataclass(frozen=True, eq=False)
class Example:
    """The pictures of one image.

    Args:
        name: Id of the image.
        tags: Names of its classes.
        pictures: In the order of the chain.
    """

    name: str
    tags: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Painter:
    """Draws pictures in the classes' names and colours.

    Args:
        classes: Names, the background first.
        palette: RGB in 0..255 of each.
    """

    classes: Sequence[str]
    palette: Sequence[Sequence[int]]

    def names(self, tags: Sequence[int]) -> str:
        """Return the names of tags, foreground class indices."""
        return ', '.join(self.classes[tag + 1] for tag in tags) or 'none'

    def image(self, image: Pixels, tags: Sequence[int]) -> Picture:
        """Show an image (H, W, 3) with its tags, foreground class indices."""
        return Picture('image', f'The image. Its tags: {self.names(tags)}.', image)

    def maps(self, image: Pixels, record: SeedRecord) -> list[Picture]:
        """Show the map of each tag over the image."""
        return [
            Picture(
                f'map: {self.classes[index + 1]}',
                f'Localization map of {self.classes[index + 1]} over the image, '
                f'{_where(scores)}.',
                heat_overlay(image, scores),
            )
            for index, scores in zip(record.classes, _scores(record).numpy())
        ]

    def seeds(self, image: Pixels, record: SeedRecord, threshold: float) -> Picture:
        """Show the label map of the maps and a background threshold in [0, 1]."""
        labels = label_map(_scores(record), record.classes, threshold)
        return self.labels('seeds', image, labels.numpy().astype(np.uint8))

    def labels(self, title: str, image: Pixels, labels: Pixels) -> Picture:
        """Show a label map (H, W), 255 where undecided or not judged."""
        pixels = label_overlay(image, labels, self.palette)
        return Picture(title, f'{title.capitalize()}: {self._shares(labels)}.', pixels)

    def _shares(self, labels: Pixels) -> str:
        names = {**dict(enumerate(self.classes)), IGNORED_LABEL: UNDECIDED}
        found, counts = np.unique(labels, return_counts=True)
        shares = zip(found.tolist(), (counts / labels.size).tolist())
        return ', '.join(f'{names[label]} {share:.0%}' for label, share in shares)


def examples_figure(examples: Sequence[Example]) -> Figure:
    """Draw examples with equally many pictures each as a table of pictures."""
    rows, columns = len(examples), max(len(e.pictures) for e in examples)
    figure = Figure(
        figsize=(columns * CELL_INCHES, rows * (CELL_INCHES + TITLE_INCHES)),
        dpi=FIGURE_DPI,
        layout=ConstrainedLayoutEngine(h_pad=GAP_INCHES, w_pad=GAP_INCHES, hspace=0),
    )
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis('off')
    for line, example in zip(grid, examples):
        for axes, picture in zip(line, example.pictures):
            axes.imshow(picture.pixels, interpolation='lanczos')
            axes.set_title(picture.title, fontsize=TITLE_SIZE, pad=2)
    return figure


def _scores(record: SeedRecord) -> Tensor:
    return maps_to_image(record.tensor(), **record.geometry())


def _where(scores: NDArray[np.floating]) -> str:
    """Say in words where a map is highest."""
    row, column = np.unravel_index(scores.argmax(), scores.shape)
    vertical = ('at the top', 'in the middle', 'at the bottom')
    horizontal = ('left', 'centre', 'right')
    height, width = scores.shape
    return (
        f'highest {vertical[3 * int(row) // height]} '
        f'{horizontal[3 * int(column) // width]}'
    )
