"""The toy of a view: orders worked by hand, attention against its definition."""

import numpy as np
import pytest

from mmwsss.functional.views import DIHEDRAL
from mmwsss.visualization.token_order import (
    SPREAD,
    token_order,
    token_order_figure,
)

MIRRORED = [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12]
"""4 x 4 patches, each row from right to left."""
TURNED = [3, 7, 11, 15, 2, 6, 10, 14, 1, 5, 9, 13, 0, 4, 8, 12]
"""Counter-clockwise: the last column is the first row."""


def attention_of(numbers):
    """Softmax of squared distances of shades, row by row."""
    shades = [number / (len(numbers) - 1) for number in numbers]
    rows = [[np.exp(-((a - b) ** 2) / SPREAD**2) for b in shades] for a in shades]
    return np.array([[value / sum(row) for value in row] for row in rows])


@pytest.mark.parametrize(('view', 'order'), [('hflip', MIRRORED), ('rot90', TURNED)])
def test_order_of_4x4_patches(view, order):
    toy = token_order(view, (4, 4))
    assert toy.order == order
    # patch 0 of the upper left corner is the fourth token, or the thirteenth
    assert toy.places[0] == dict(hflip=3, rot90=12)[view]
    assert [order[place] for place in toy.places] == list(range(16))
    np.testing.assert_allclose(toy.attention, attention_of(range(16)), atol=1e-12)
    np.testing.assert_allclose(toy.other, attention_of(order), atol=1e-12)
    assert abs(toy.other - toy.attention).max() > 0.2


@pytest.mark.parametrize('view', sorted(DIHEDRAL))
@pytest.mark.parametrize('grid', [(4, 4), (2, 3), (1, 1)])
def test_way_back_restores_attention(view, grid):
    toy = token_order(view, grid)
    np.testing.assert_allclose(toy.restored, toy.attention, atol=1e-12)


def test_figure_shows_numbers_orders_and_matrices():
    figure = token_order_figure([token_order('hflip', (4, 4))])
    patches, view, orders, own, other, back = figure.axes
    written = [[int(text.get_text()) for text in axes.texts] for axes in figure.axes]
    assert written[0] == list(range(16))
    assert written[1] == MIRRORED
    assert written[2] == [*range(16), *MIRRORED]
    # each line goes from a patch's place in the image to that in the view
    ends = [tuple(int(x) for x in line.get_xdata()) for line in orders.lines]
    assert ends[:5] == [(0, 3), (1, 2), (2, 1), (3, 0), (4, 7)]
    labels = [int(label.get_text()) for label in other.get_yticklabels()]
    assert labels == MIRRORED
    np.testing.assert_array_equal(own.images[0].get_array(), attention_16())
    assert back.get_title() == 'moved back, off by 0.000'
    assert view.get_title() == 'of the view (hflip)'
    assert not patches.get_xticks().size


def attention_16():
    return token_order('identity', (4, 4)).attention.numpy()


def test_large_grids_name_no_tokens():
    figure = token_order_figure([token_order('rot90', (3, 6))])
    assert not figure.axes[-1].get_xticks().size


def test_what_is_refused():
    with pytest.raises(ValueError, match="view: expected one of .*, got 'spin'"):
        token_order('spin', (4, 4))
    with pytest.raises(ValueError, match=r'at least one patch a side, got \(0, 4\)'):
        token_order('hflip', (0, 4))
