"""Pictures of predictions: what they show, in which order, and the mark of a point."""

from dataclasses import replace

import numpy as np
import pytest

from mmwsss.visualization.examples import Painter
from mmwsss.visualization.overlays import heat_overlay, label_overlay
from mmwsss.visualization.predictions import (
    Prediction,
    draw_prediction,
    figure_pixels,
    mark_point,
    prediction_figure,
)

PALETTE = [(0, 0, 0), (255, 0, 0), (0, 255, 0)]
PAINTER = Painter(('background', 'cat', 'dog'), PALETTE)
IMAGE = np.full((40, 60, 3), 90, np.uint8)
MAPS = np.linspace(0, 1, 2 * 40 * 60, dtype=np.float32).reshape(2, 40, 60)
SEEDS = np.tile(np.array([0, 1, 2], np.uint8), (40, 20))
LABEL = np.tile(np.array([2, 255, 0], np.uint8), (40, 20))
FOUND = Prediction(
    name='a',
    path='/a.jpg',
    image=IMAGE,
    tags=('cat', 'dog'),
    tags_given=True,
    scores=dict(cat=0.875, dog=0.25),
    localization=MAPS,
    seeds=SEEDS,
    label=LABEL,
    point=(10.0, 5.0),
    affinity=MAPS[0],
)


def test_pictures_in_order():
    example = draw_prediction(PAINTER, FOUND)
    assert [picture.title for picture in example.pictures] == [
        'tags given: cat, dog',
        'cat 0.88',
        'dog 0.25',
        'seeds',
        'pseudo label',
        'affinity of 10 5',
    ]
    image, cat, dog, seeds, label, affinity = (p.pixels for p in example.pictures)
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(cat, heat_overlay(IMAGE, MAPS[0]))
    np.testing.assert_array_equal(dog, heat_overlay(IMAGE, MAPS[1]))
    np.testing.assert_array_equal(seeds, label_overlay(IMAGE, SEEDS, PALETTE))
    np.testing.assert_array_equal(label, label_overlay(IMAGE, LABEL, PALETTE))
    np.testing.assert_array_equal(affinity, mark_point(cat, (10, 5)))
    described = [picture.description for picture in example.pictures]
    assert described[1].startswith('Localization map of cat, probability 0.88')
    assert described[4] == 'Pseudo label: background 33%, dog 33%, undecided 33%.'


def test_tags_that_were_found_or_not():
    found = replace(FOUND, tags_given=False, affinity=None)
    assert draw_prediction(PAINTER, found).tags == 'tags found: cat, dog'
    none = replace(found, tags=(), localization=MAPS[:0])
    titles = [p.title for p in draw_prediction(PAINTER, none).pictures]
    assert titles == ['tags found: none', 'seeds', 'pseudo label']


def test_segmentors_have_a_prediction_alone():
    segmented = replace(
        FOUND, scores={}, localization=None, seeds=None, point=None, affinity=None
    )
    titles = [p.title for p in draw_prediction(PAINTER, segmented).pictures]
    assert titles[1:] == ['prediction']


@pytest.mark.parametrize('point', [(0, 0), (59, 39), (30.7, 20.2)])
def test_mark_lies_at_the_point(point):
    marked = mark_point(IMAGE, point)
    rows, columns = np.nonzero((marked == 255).all(-1))
    column, row = map(int, point)
    assert rows.min() == max(0, row - 1)
    assert rows.max() == min(39, row + 1)
    assert columns.min() == max(0, column - 1)
    assert columns.max() == min(59, column + 1)
    # a rim of one pixel around it, and nothing else
    changed = (marked != IMAGE).any(-1)
    rows, columns = np.nonzero(changed)
    assert rows.max() - rows.min() <= 4
    assert columns.max() - columns.min() <= 4
    assert changed[row, column]
    assert (IMAGE == 90).all()


def test_figure_is_a_row_of_pictures():
    example = draw_prediction(PAINTER, FOUND)
    figure = prediction_figure(example)
    assert [axes.get_title() for axes in figure.axes] == [
        picture.title for picture in example.pictures
    ]
    pixels = figure_pixels(figure)
    assert pixels.dtype == np.uint8
    width, height = figure.get_size_inches() * figure.dpi
    assert width == 6 * 300
    assert pixels.shape[1:] == (1800, 3)
    assert abs(pixels.shape[0] - height) < 1


def test_many_pictures_take_several_lines():
    tags = tuple(map(str, range(9)))
    scores = dict.fromkeys(tags, 0.5)
    maps = np.zeros((9, 40, 60), np.float32)
    many = replace(FOUND, tags=tags, scores=scores, localization=maps)
    figure = prediction_figure(draw_prediction(PAINTER, many))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[1:10] == [f'{tag} 0.50' for tag in tags]
    assert titles[10:13] == ['seeds', 'pseudo label', 'affinity of 10 5']
    width, height = figure.get_size_inches()
    one = prediction_figure(draw_prediction(PAINTER, FOUND)).get_size_inches()[1]
    assert width == 18
    assert height > 2 * one - 1


def test_summary_holds_no_pixels():
    assert FOUND.summary() == dict(
        name='a',
        path='/a.jpg',
        tags=['cat', 'dog'],
        tags_given=True,
        scores=dict(cat=0.875, dog=0.25),
        point=(10.0, 5.0),
    )
    assert set(FOUND.as_dict()) == set(vars(FOUND)) - {'sample'}
