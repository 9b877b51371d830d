"""A page of samples as the network sees them."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mmwsss.utils.errors import ConfigError
from mmwsss.visualization.examples import Example, Painter, Picture, examples_figure
from mmwsss.visualization.overlays import Pixels, heat_overlay

PICTURES_A_LINE = 6
CELL_INCHES = 2.1
LINE_INCHES = 0.14
CAPTION_WIDTH = 30
CAPTION_LINES = 3
FULL_HEAT = 64
"""Difference in grey levels from which heat is lightest."""
PAGE_DPI = 100
DISPLAYS = ('DISPLAY', 'WAYLAND_DISPLAY')


@dataclass(frozen=True, eq=False)
class SeenView:
    """The second view of a sample, with its tokens moved back.

    Args:
        image: (H', W', 3) RGB.
        tokens: (H, W, 3) RGB, mean colours of its patches in the image's order.
        difference: (H, W) in grey levels, of these to the image's patches.
        unmoved: Mean difference if tokens were not moved; None if numbers differ.
    """

    image: Pixels
    tokens: Pixels
    difference: NDArray[np.floating]
    unmoved: float | None

    @property
    def mean(self) -> float:
        """Mean difference in grey levels."""
        return float(self.difference.mean())

    @property
    def largest(self) -> float:
        """Largest difference in grey levels."""
        return float(self.difference.max())


@dataclass(frozen=True, eq=False)
class SeenSample:
    """What the network sees of an image.

    Args:
        index: Its index in the data set.
        name: Its id.
        tags: Foreground class indices; of the mask if there is no tag list; None
            without either.
        image: (H, W, 3) RGB, padding included.
        labels: (H, W), 0 = background, 255 = undecided; None without a mask.
        view: Of classifiers that train on two views.
    """

    index: int
    name: str
    tags: tuple[int, ...] | None
    image: Pixels
    labels: Pixels | None = None
    view: SeenView | None = None


def draw_sample(painter: Painter, sample: SeenSample) -> Example:
    """Draw the pictures of a sample; its caption is the title of the first.

    Raises:
        ValueError: if a label has no colour.
    """
    tags = painter.names(sample.tags) if sample.tags is not None else 'no tags'
    lines = textwrap.wrap(tags, CAPTION_WIDTH)
    if len(lines) > CAPTION_LINES:
        lines[CAPTION_LINES - 1 :] = ['...']
    name = sample.name
    if len(name) > CAPTION_WIDTH:
        name = f'...{name[3 - CAPTION_WIDTH :]}'
    caption = '\n'.join([f'{sample.index}: {name}', *lines])
    pictures = [Picture(caption, f'The image. Its tags: {tags}.', sample.image)]
    if sample.labels is not None:
        pictures.append(painter.labels('mask', sample.image, sample.labels))
    if sample.view is not None:
        pictures += _view_pictures(sample.image, sample.view)
    return Example(name, tags, tuple(pictures))


def _view_pictures(image: Pixels, view: SeenView) -> list[Picture]:
    # in 16 bits the sum of two bytes has room
    blend = ((image.astype(np.uint16) + view.tokens + 1) // 2).astype(np.uint8)
    heat = heat_overlay(image, view.difference / FULL_HEAT)
    figures = f'mean {view.mean:.1f}, largest {view.largest:.1f}'
    return [
        Picture('second view', 'The second view.', view.image),
        Picture(
            'tokens moved back, over image',
            "The second view's patches in the image's order, blended with it.",
            blend,
        ),
        Picture(
            f'difference in grey levels:\n{figures}',
            f'Where the two differ, in grey levels of 255: {figures}.',
            heat,
        ),
    ]


def browsing_figure(examples: Sequence[Example]) -> Figure:
    """Lay out the pictures of examples as a page, several examples a line."""
    width = max(len(example.pictures) for example in examples)
    each = max(1, PICTURES_A_LINE // width)
    lines = [
        Example('', '', sum((e.pictures for e in examples[i : i + each]), ()))
        for i in range(0, len(examples), each)
    ]
    figure = examples_figure(lines)
    columns = max(len(line.pictures) for line in lines)
    height = sum(_line_height(line) for line in lines)
    figure.set_size_inches(columns * CELL_INCHES, height)
    return figure


def _line_height(line: Example) -> float:
    titles = max(picture.title.count('\n') + 1 for picture in line.pictures)
    shapes = (picture.pixels.shape for picture in line.pictures)
    tallest = max(rows / columns for rows, columns, _ in shapes)
    return CELL_INCHES * min(1.5, max(0.6, tallest)) + titles * LINE_INCHES


def check_display() -> None:
    """Check that a window can be opened.

    Raises:
        ConfigError: if there is no display, or matplotlib has no means of windows.
    """
    remedy = 'leave --show off and open the PNG file'
    if sys.platform.startswith('linux') and not any(map(os.environ.get, DISPLAYS)):
        raise ConfigError(
            f'--show: there is no display ({" and ".join(DISPLAYS)} are not set); '
            f'{remedy}'
        )
    canvas = pyplot.figure().canvas
    pyplot.close(canvas.figure)
    if canvas.required_interactive_framework is None:
        raise ConfigError(
            f'--show: matplotlib cannot open windows here (its backend is '
            f'{pyplot.get_backend()}); install tkinter or PyQt6, or {remedy}'
        )


def show_page(path: str | Path) -> None:
    """Show a page that was written in a window until it is closed."""
    pixels = pyplot.imread(path)
    height, width = (side / PAGE_DPI for side in pixels.shape[:2])
    window = pyplot.figure(figsize=(width, height))
    axes = window.add_axes((0, 0, 1, 1))
    axes.axis('off')
    axes.imshow(pixels)
    pyplot.show()
