"""Pictures of a training: heat maps, attention of two views, the memory bank."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from mmwsss.functional.localization import maps_to_image
from mmwsss.functional.projection import principal_plane
from mmwsss.structures.observation import MemoryState, Observation, ViewAttention
from mmwsss.visualization.attention_figure import view_consistency
from mmwsss.visualization.examples import FIGURE_DPI, Painter
from mmwsss.visualization.overlays import HEAT_COLOURS, MAX_VALUE, Pixels, heat_overlay

PANEL_INCHES = 2.0
AFFINITY_INCHES = 2.6
LINE_INCHES, GAP_INCHES = 0.16, 0.06
TITLE_SIZE = 8
NAME_LETTERS = 26
TALLEST = 1.6
TOP_SHARE = 0.99
"""Part of an image's affinities that is not lightest."""
BAR_INCHES, LEAST_INCHES, MEMORY_WIDTH = 0.19, 4.0, 9.0


@dataclass(frozen=True, eq=False)
class Panel:
    """One panel of a picture.

    Args:
        title: A line or two.
        values: (H, W, 3) uint8 RGB; or (H, W), drawn as heat.
        top: Value that is lightest, of heat.
    """

    title: str
    values: NDArray
    top: float | None = None


def panel_figure(
    rows: Sequence[Sequence[Panel]], *, title: str, inches: float = PANEL_INCHES
) -> Figure:
    """Draw rows of panels; where a row is shorter, its end stays empty."""
    width = GAP_INCHES + max(len(row) for row in rows) * (inches + GAP_INCHES)
    boxes = [inches * _shape_of(row) for row in rows]
    titles = [LINE_INCHES * _lines_of(row) for row in rows]
    height = 2 * LINE_INCHES + sum(boxes) + sum(titles) + len(rows) * GAP_INCHES
    figure = Figure((width, height), dpi=FIGURE_DPI)
    FigureCanvasAgg(figure)
    # one for all, in inches: axes are what takes long to draw
    axes = figure.add_axes((0, 0, 1, 1))
    middle = width / 2, height - LINE_INCHES
    axes.text(*middle, title, fontsize=TITLE_SIZE + 1, ha='center', va='center')
    top = height - 2 * LINE_INCHES
    for row, box, above in zip(rows, boxes, titles):
        top -= above
        for column, panel in enumerate(row):
            left = GAP_INCHES + column * (inches + GAP_INCHES)
            _show(axes, panel, (left, left + inches, top - box, top))
        top -= box + GAP_INCHES
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis('off')
    return figure


def _show(axes: Axes, panel: Panel, box: tuple[float, float, float, float]) -> None:
    """Show a panel as large as its shape allows in a box (left, right, bottom, top)."""
    left, right, bottom, top = box
    rows, columns = panel.values.shape[:2]
    side = min((right - left) / columns, (top - bottom) / rows)
    place = left, left + columns * side, top - rows * side, top
    shown = axes.imshow(panel.values, extent=place, aspect='auto', cmap=HEAT_COLOURS)
    if panel.values.ndim == 2:
        shown.set_clim(0, panel.top or 1)
    middle, above = (left + right) / 2, top + GAP_INCHES / 2
    axes.text(middle, above, panel.title, fontsize=TITLE_SIZE, ha='center')


def _shape_of(row: Sequence[Panel]) -> float:
    """Return height by width of the tallest panel, within a limit."""
    ratios = (panel.values.shape[0] / panel.values.shape[1] for panel in row)
    return min(TALLEST, max(ratios))


def _lines_of(row: Sequence[Panel]) -> int:
    return max(panel.title.count('\n') + 1 for panel in row)


def heat_map_figure(
    painter: Painter, seen: Sequence[Observation], *, title: str
) -> Figure:
    """Draw each image with the map of each of its tags, present or found."""
    return panel_figure([_heat_maps(painter, one) for one in seen], title=title)


def _heat_maps(painter: Painter, seen: Observation) -> list[Panel]:
    image, pixels = _colours(seen.image), seen.sample.localization
    size = image.shape[0], image.shape[1]
    maps = maps_to_image(
        pixels.data.detach().float().cpu(),
        input_shape=pixels.input_shape,
        img_shape=size,
        ori_shape=size,
        align_corners=pixels.align_corners,
    )
    scores = seen.sample.pred_score.tolist()
    return [
        Panel(_name(seen), image),
        *(
            Panel(
                f'{painter.classes[index + 1]}, probability {scores[index]:.2f}',
                heat_overlay(image, scores_of_class.numpy()),
            )
            for index, scores_of_class in zip(pixels.classes, maps)
        ),
    ]


def attention_figure(seen: Sequence[Observation], *, title: str) -> Figure:
    """Draw what the class token attends to in both views, and where they differ.

    The mean over blocks; the difference is the mean of the blocks' absolute ones, of
    which the activation consistency is the mean over patches (ACR, eq. 4).
    """
    rows = [_attention(one, one.views) for one in seen if one.views is not None]
    return panel_figure(rows, title=title)


def _attention(seen: Observation, views: ViewAttention) -> list[Panel]:
    first, restored = (
        torch.stack([block[0, 1:].float() for block in blocks]).cpu()
        for blocks in (views.first, views.restored)
    )
    difference = (first - restored).abs().mean(0)
    maps = [m.reshape(views.grid).numpy() for m in (first.mean(0), restored.mean(0))]
    top = float(max(m.max() for m in maps))
    return [
        Panel(_name(seen), _colours(seen.image)),
        Panel('second view', view_colours(seen, views.view)),
        Panel(f'attention of the image,\n0 to {top:.3g}', maps[0], top),
        Panel('of the view,\npatches moved back', maps[1], top),
        Panel(
            f'difference, same shades,\nmean {float(difference.mean()):.3g}',
            difference.reshape(views.grid).numpy(),
            top,
        ),
    ]


def affinity_figure(seen: Sequence[Observation], *, title: str) -> Figure:
    """Draw the affinity matrices of both views (ACR, supplement, figure 4).

    Row and column are patches, the value is head-mean attention, the mean over
    blocks. The difference is as of ``attention_figure``, with the affinity
    consistency for its mean (eq. 5).
    """
    rows = [_affinity(one, one.views) for one in seen if one.views is not None]
    return panel_figure(rows, title=title, inches=AFFINITY_INCHES)


def _affinity(seen: Observation, views: ViewAttention) -> list[Panel]:
    patches = views.between_patches()
    top = float(np.quantile(patches.first.numpy(), TOP_SHARE))
    titles = {
        f'{_name(seen)}:\nA of the image, 0 to {top:.3g}': patches.first,
        "A' of the second view": patches.second,
        "A', rows and columns moved back": patches.restored,
        f'difference, same shades,\nmean {float(patches.difference.mean()):.3g}': (
            patches.difference
        ),
    }
    return [Panel(title, matrix.numpy(), top) for title, matrix in titles.items()]


def consistency_scalars(seen: Sequence[Observation]) -> dict[str, float]:
    """Return the mean L1 distances of both views' attention over images (eq. 4, 5).

    Without the weights of the loss; nothing where no image has two views.
    """
    pairs = [view_consistency(one.views) for one in seen if one.views is not None]
    if not pairs:
        return {}
    names = 'views/activation_l1', 'views/affinity_l1'
    return {name: statistics.fmean(values) for name, values in zip(names, zip(*pairs))}


def memory_scalars(memory: MemoryState) -> dict[str, float]:
    """Return the share of slots in use, and of classes that have prototypes."""
    found = {'memory/occupancy': float(memory.valid.float().mean())}
    if memory.ready is not None:
        found['memory/classes_with_prototypes'] = float(memory.ready.float().mean())
    return found


def memory_figure(painter: Painter, memory: MemoryState, *, title: str) -> Figure:
    """Draw how full the bank is, and its slots and prototypes in their main plane."""
    height = max(LEAST_INCHES, BAR_INCHES * len(memory.valid) + 5 * LINE_INCHES)
    figure = Figure((MEMORY_WIDTH, height), dpi=FIGURE_DPI, layout='constrained')
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=TITLE_SIZE + 1)
    bars, plane = figure.subplots(1, 2, width_ratios=(1, 1.6))
    colours = np.array(painter.palette[1:]) / MAX_VALUE
    _draw_occupancy(bars, painter.classes[1:], memory.valid.cpu(), colours)
    _draw_plane(plane, memory, colours)
    return figure


def _draw_occupancy(
    axes: Axes, names: Sequence[str], valid: Tensor, colours: NDArray
) -> None:
    shares = valid.float().mean(1).numpy()
    axes.barh(np.arange(len(names)), shares, color=colours, edgecolor='grey')
    axes.set_yticks(np.arange(len(names)), names, fontsize=TITLE_SIZE)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.tick_params(labelsize=TITLE_SIZE)
    axes.set_title(
        f'{int(valid.sum())} of {valid.numel()} slots in use', fontsize=TITLE_SIZE
    )
    axes.set_xlabel(f'share of {valid.shape[1]} slots', fontsize=TITLE_SIZE)


def _draw_plane(axes: Axes, memory: MemoryState, colours: NDArray) -> None:
    rows = memory.features[memory.valid].cpu()
    if not len(rows):
        axes.axis('off')
        axes.set_title('no region was kept yet', fontsize=TITLE_SIZE)
        return
    found = principal_plane(rows)
    owners = memory.valid.nonzero()[:, 0].cpu()
    axes.scatter(*found.project(rows).T, s=7, color=colours[owners], linewidths=0)
    title = 'slots'
    if memory.prototypes is not None and memory.ready is not None:
        ready = memory.ready.cpu()
        stars = found.project(memory.prototypes.cpu()[ready]).flatten(0, 1)
        each = memory.prototypes.shape[1]
        shades = colours[ready.nonzero()[:, 0].repeat_interleave(each)]
        axes.scatter(*stars.T, s=75, marker='*', color=shades, edgecolors='black')
        title = f'slots, and stars: prototypes of {int(ready.sum())} classes'
    axes.set_title(title, fontsize=TITLE_SIZE)
    axes.tick_params(labelsize=TITLE_SIZE)
    shares = [f'{float(share):.0%} of the variance' for share in found.shares]
    axes.set_xlabel(f'first principal component, {shares[0]}', fontsize=TITLE_SIZE)
    axes.set_ylabel(f'second, {shares[1]}', fontsize=TITLE_SIZE)


def view_colours(seen: Observation, view: Tensor) -> Pixels:
    """Return a view (3, H', W') that the network was given in the image's colours.

    The preprocessor changes colours linearly; how, the image and its input tell.

    Returns:
        (H', W', 3) RGB.
    """
    height, width = seen.image.shape[1:]
    given = seen.inputs[:, :height, :width]
    known, wanted = (_rows(part) for part in (given, seen.image))
    way, *_ = np.linalg.lstsq(_with_one(known), wanted, rcond=None)
    colours = (_with_one(_rows(view)) @ way).reshape(*view.shape[1:], 3)
    return np.rint(colours.clip(0, MAX_VALUE)).astype(np.uint8)


def _rows(planes: Tensor) -> NDArray[np.float64]:
    return planes.detach().double().cpu().flatten(1).T.numpy()


def _with_one(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([rows, np.ones((len(rows), 1))], 1)


def _colours(image: Tensor) -> Pixels:
    return image.permute(1, 2, 0).cpu().numpy()


def _name(seen: Observation) -> str:
    name = Path(str(seen.sample.get('img_path', 'image'))).stem
    return name if len(name) <= NAME_LETTERS else f'...{name[3 - NAME_LETTERS :]}'
