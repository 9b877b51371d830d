"""From what methods find in images to a figure."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from mmwsss.apis.comparison import (
    AFFINITY,
    KINDS,
    MAPS,
    SEEDS,
    ComparedRow,
    Comparison,
)
from mmwsss.apis.inferencer_inputs import Pixels
from mmwsss.utils.label_codec import IGNORED_LABEL
from mmwsss.visualization.comparison_figure import GridRow, comparison_figure
from mmwsss.visualization.examples import Picture
from mmwsss.visualization.overlays import heat_overlay
from mmwsss.visualization.predictions import Prediction, mark_point

BACKGROUND_LABEL = 0


def draw_comparison(comparison: Comparison, rows: Sequence[ComparedRow]) -> Figure:
    """Draw the image, its mask where any has one, and the columns of a comparison.

    Below labels stands their IoU in percent, as ``image_iou`` has it; maps that a
    method has none of are left out.

    Args:
        comparison: Of the methods.
        rows: Of ``Comparison.rows``.

    Raises:
        DataError: if a mask does not fit.
    """
    return _Drawing(comparison, rows).figure()


class _Drawing:
    """Draws once, and remembers which labels the legend must name."""

    def __init__(self, comparison: Comparison, rows: Sequence[ComparedRow]) -> None:
        self.comparison, self.rows = comparison, rows
        self.painter = comparison.painter
        self.with_masks = any(row.entry.image.mask_path for row in rows)
        self.labels: set[int] = set()

    def figure(self) -> Figure:
        drawn = [self._row(row) for row in self.rows]
        shown = sorted(self.labels - {BACKGROUND_LABEL, IGNORED_LABEL})
        names, colours = self.painter.classes, self.painter.palette
        legend = [(names[label], colours[label]) for label in shown]
        return comparison_figure(self._heads(), drawn, legend=legend)

    def _heads(self) -> list[str]:
        methods = self.comparison.methods
        columns = [
            f'{methods[place].name}\n{KINDS.get(kind, kind)}'
            for kind, place in self.comparison.columns()
        ]
        return ['image', *(['ground truth'] if self.with_masks else []), *columns]

    def _row(self, row: ComparedRow) -> GridRow:
        first = row.predictions[0].image
        cells: list[Picture | None] = [self._image(row)]
        if self.with_masks:
            mask = row.entry.image.mask(self.painter.classes, size=first.shape[:2])
            cells.append(self._labels('', first, mask))
        for kind, place in self.comparison.columns():
            cells.append(self._cell(row, kind, row.predictions[place]))
        label = row.entry.image.name + (f'\n{row.tag}' if row.tag else '')
        return GridRow(label, tuple(cells))

    def _image(self, row: ComparedRow) -> Picture:
        pixels = row.predictions[0].image
        if row.entry.point is not None:
            pixels = mark_point(pixels, row.entry.point)
        return Picture('', f'The image {row.entry.image.name}.', pixels)

    def _cell(self, row: ComparedRow, kind: str, found: Prediction) -> Picture | None:
        if kind == MAPS:
            return _map_of(found, row.tag)
        if kind == AFFINITY:
            return _affinity_of(found)
        value = self.comparison.iou(row.entry.image, found, kind)
        note = '' if value is None else f'IoU {100 * value:.1f}'
        labels = found.seeds if kind == SEEDS else found.label
        return self._labels(note, found.image, labels)

    def _labels(
        self, note: str, image: Pixels, labels: Pixels | None
    ) -> Picture | None:
        if labels is None:
            return None
        self.labels.update(labels.flatten().tolist())
        return self.painter.labels(note, image, labels)


def _map_of(found: Prediction, tag: str | None) -> Picture | None:
    if found.localization is None or tag is None or tag not in found.tags:
        return None
    scores = found.localization[found.tags.index(tag)]
    heat = heat_overlay(found.image, scores)
    return Picture('', f'Localization map of {tag} over the image.', heat)


def _affinity_of(found: Prediction) -> Picture | None:
    if found.affinity is None or found.point is None:
        return None
    heat = heat_overlay(found.image, found.affinity)
    about = 'Affinity of {:g} {:g} (column, row) over the image.'.format(*found.point)
    return Picture('', about, mark_point(heat, found.point))
