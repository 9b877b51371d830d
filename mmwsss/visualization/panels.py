"""Figures of small panels, and how a figure becomes files."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mmwsss.utils.atomic import atomic_write_bytes, atomic_write_text
from mmwsss.utils.errors import ConfigError

PANEL_INCHES = 1.75
HEAD_INCHES = 0.25
DPI = 100
TITLE_SIZE = 9
SHADES = 'cividis'
HEAT = 'inferno'
ROUNDS = 4
"""Of k-means that chooses the colours of a palette."""
WITHOUT_DATE: dict[str, dict[str, Any]] = {
    '.png': {},
    '.pdf': dict(CreationDate=None),
}
"""Metadata by suffix that let the same figure be the same file."""


def panels(rows: int, columns: int, *, height: float = 1.0) -> tuple[Figure, Any]:
    """Return a figure of panels without ticks, and their axes.

    Args:
        rows: Of panels.
        columns: Of panels.
        height: Of a panel, in its widths.
    """
    size = (columns * PANEL_INCHES, rows * PANEL_INCHES * height + HEAD_INCHES)
    figure = Figure(figsize=size, dpi=DPI, layout='constrained')
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    return figure, grid


def show(axes: Any, picture: Any, title: str, **settings: Any) -> None:
    """Show an array in a panel.

    Args:
        axes: The panel's.
        picture: (H, W) or (H, W, 3).
        title: Above it.
        **settings: Passed whole to matplotlib's ``imshow``.
    """
    axes.imshow(picture, interpolation='nearest', **settings)
    axes.set_title(title, fontsize=TITLE_SIZE)


def numbered(axes: Any, numbers: Tensor | NDArray, title: str) -> None:
    """Show a small grid of whole numbers (H, W), shaded by their size."""
    values = np.asarray(numbers)
    show(axes, values, title, cmap=SHADES)
    middle = float(values.max()) / 2
    for (row, column), number in np.ndenumerate(values):
        colour = 'black' if number > middle else 'white'
        axes.text(column, row, int(number), ha='center', va='center', color=colour)


def check_suffix(path: str | Path) -> str:
    """Return the suffix of a figure's file.

    Raises:
        ConfigError: if it is none that a figure can have.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WITHOUT_DATE:
        raise ConfigError(
            f'{path}: a figure ends in {", ".join(WITHOUT_DATE)}, got {suffix!r}'
        )
    return suffix


def figure_bytes(
    figure: Figure, suffix: str, *, dpi: float | None = None, colours: int | None = None
) -> bytes:
    """Return a figure as the content of a file, the same each time.

    Args:
        figure: What is drawn.
        suffix: A key of ``WITHOUT_DATE``.
        dpi: Pixels an inch; None keeps the figure's.
        colours: Size of the palette that a PNG gets, at most 256, which halves its
            size; None keeps all colours.
    """
    buffer, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(
        buffer,
        format=suffix[1:],
        dpi=dpi or figure.dpi,
        metadata=WITHOUT_DATE[suffix],
    )
    if colours is None or suffix != '.png':
        return buffer.getvalue()
    image = Image.open(buffer).convert('RGB').quantize(colours, kmeans=ROUNDS)
    image.save(packed, 'PNG', optimize=True)
    return packed.getvalue()


def write_figure(
    figure: Figure,
    path: str | Path,
    record: Mapping[str, Any],
    *,
    dpi: float | None = None,
    colours: int | None = None,
) -> list[Path]:
    """Write a figure and, beside it, a JSON file of what it shows.

    Args:
        figure: What is drawn.
        path: File whose suffix is a key of ``WITHOUT_DATE``.
        record: What JSON can hold.
        dpi: See ``figure_bytes``.
        colours: See ``figure_bytes``.

    Returns:
        Both files.

    Raises:
        ConfigError: if the suffix is none that a figure can have.
        ArtefactError: if a file cannot be written.
    """
    suffix, path = check_suffix(path), Path(path)
    atomic_write_bytes(path, figure_bytes(figure, suffix, dpi=dpi, colours=colours))
    beside = path.with_name(f'{path.name}.json')
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    atomic_write_text(beside, text + '\n')
    return [path, beside]
