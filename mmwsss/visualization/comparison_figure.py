"""A table of pictures: images in rows, what several methods make of them in columns."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch

from mmwsss.visualization.examples import Picture

CELL_INCHES = 1.3
LABEL_INCHES = 0.3
LINE_INCHES = 0.13
GAP_INCHES = 0.02
ROW_HEIGHTS = (0.4, 1.8)
"""Least and greatest height of a row, in widths of a cell."""
HEAD_SIZE, NOTE_SIZE = 8, 7
HEAD_LETTERS = 18
LABEL_LETTERS = 24
LEGEND_COLUMNS = 8
MAX_VALUE = 255
ABSENT = '–'


@dataclass(frozen=True, eq=False)
class GridRow:
    """The pictures of a row.

    Args:
        label: Stands at its left.
        cells: One a column, whose titles are the notes below; None where a method has
            nothing to show.
    """

    label: str
    cells: tuple[Picture | None, ...]


def comparison_figure(
    heads: Sequence[str],
    rows: Sequence[GridRow],
    *,
    legend: Sequence[tuple[str, Sequence[int]]] = (),
) -> Figure:
    """Lay pictures out in rows and columns.

    Args:
        heads: Above each column.
        rows: With as many cells as heads.
        legend: Names and colours, RGB in 0..255, of what the pictures show.

    Raises:
        ValueError: if a row has another number of cells, or there is no row.
    """
    if not rows or any(len(row.cells) != len(heads) for row in rows):
        counts = [len(row.cells) for row in rows]
        raise ValueError(f'rows: expected {len(heads)} cells in each, got {counts}')
    heights = [_height(row) for row in rows]
    figure = Figure(
        figsize=_size(heads, rows, heights, legend),
        layout=ConstrainedLayoutEngine(
            h_pad=GAP_INCHES, w_pad=GAP_INCHES, hspace=0, wspace=0
        ),
    )
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), len(heads), squeeze=False, height_ratios=heights)
    for line, row in zip(grid, rows):
        for axes, cell in zip(line, row.cells):
            _draw(axes, cell)
        line[0].set_ylabel(_wrapped(row.label, LABEL_LETTERS), fontsize=HEAD_SIZE)
    for axes, head in zip(grid[0], heads):
        axes.set_title(_wrapped(head), fontsize=HEAD_SIZE, pad=3)
    if legend:
        figure.legend(
            handles=[Patch(color=_shares(rgb), label=name) for name, rgb in legend],
            loc='outside lower center',
            ncols=min(len(legend), LEGEND_COLUMNS),
            fontsize=NOTE_SIZE,
            frameon=False,
        )
    return figure


def _size(
    heads: Sequence[str],
    rows: Sequence[GridRow],
    heights: Sequence[float],
    legend: Sequence[Any],
) -> tuple[float, float]:
    noted = [any(c is not None and c.title for c in row.cells) for row in rows]
    lines = max(_wrapped(head).count('\n') + 1 for head in heads) + sum(noted)
    lines += -(-len(legend) // LEGEND_COLUMNS) * 2
    width = len(heads) * CELL_INCHES + LABEL_INCHES
    return width, sum(heights) * CELL_INCHES + lines * LINE_INCHES


def _height(row: GridRow) -> float:
    """Return the height of a row's pictures, in their widths."""
    shown = [cell.pixels.shape for cell in row.cells if cell is not None]
    ratio = max((shape[0] / shape[1] for shape in shown), default=1.0)
    least, greatest = ROW_HEIGHTS
    return min(max(ratio, least), greatest)


def _draw(axes: Any, cell: Picture | None) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if cell is None:
        axes.text(0.5, 0.5, ABSENT, ha='center', va='center', transform=axes.transAxes)
        return
    axes.imshow(cell.pixels, interpolation='lanczos')
    if cell.title:
        axes.set_xlabel(cell.title, fontsize=NOTE_SIZE, labelpad=1)


def _wrapped(text: str, letters: int = HEAD_LETTERS) -> str:
    """Break lines that are too long."""
    return '\n'.join(textwrap.fill(line, letters) for line in text.splitlines())


def _shares(colour: Sequence[int]) -> tuple[float, float, float]:
    red, green, blue = (value / MAX_VALUE for value in colour)
    return red, green, blue
