"""Tables of pictures: each cell holds its picture, and what is written around it."""

import numpy as np
import pytest

from mmwsss.visualization.comparison_figure import GridRow, comparison_figure
from mmwsss.visualization.examples import Picture


def picture(value, size=(4, 4), note=''):
    return Picture(note, '', np.full((*size, 3), value, np.uint8))


ROWS = [
    GridRow('a\ncat', (picture(1), picture(2, note='IoU 50.0'))),
    GridRow('b', (picture(3, (8, 4)), None)),
]


def test_cells_hold_their_pictures():
    made = comparison_figure(['image', 'one\nmap'], ROWS)
    shown = [
        axes.images[0].get_array()[0, 0, 0] if axes.images else None
        for axes in made.axes
    ]
    assert shown == [1, 2, 3, None]
    assert [axes.get_title() for axes in made.axes] == ['image', 'one\nmap', '', '']
    assert [axes.get_xlabel() for axes in made.axes] == ['', 'IoU 50.0', '', '']
    assert [axes.get_ylabel() for axes in made.axes] == ['a\ncat', '', 'b', '']
    assert made.axes[3].texts[0].get_text() == '–'
    made.canvas.draw()
    # the second row's pictures are twice as tall
    heights = [axes.get_window_extent().height for axes in made.axes]
    assert heights[2] == pytest.approx(1.8 * heights[0], rel=0.1)


def test_legend_names_colours():
    made = comparison_figure(['image', 'x'], ROWS, legend=[('cat', (255, 0, 51))])
    (entry,) = made.legends[0].get_patches()
    assert made.legends[0].get_texts()[0].get_text() == 'cat'
    assert entry.get_facecolor() == (1, 0, 0.2, 1)


def test_long_heads_are_broken():
    made = comparison_figure(['image', 'a head that is wider than its column'], ROWS)
    lines = made.axes[1].get_title().splitlines()
    assert ' '.join(lines) == 'a head that is wider than its column'
    assert max(map(len, lines)) <= 18


@pytest.mark.parametrize('rows', [[], ROWS[:1] * 2 + [GridRow('c', (None,))]])
def test_uneven_rows_are_refused(rows):
    with pytest.raises(ValueError, match='rows: expected 2 cells in each, got'):
        comparison_figure(['image', 'x'], rows)
