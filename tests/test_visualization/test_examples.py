"""Rows of pictures: what they show and what they say of it."""

import numpy as np
import pytest

from mmwsss.structures.seed_record import SeedRecord
from mmwsss.visualization.examples import Example, Painter, Picture, examples_figure

PAINTER = Painter(('background', 'cat', 'dog'), [(0, 0, 0), (255, 0, 0), (0, 255, 0)])
IMAGE = np.zeros((4, 4, 3), np.uint8)


@pytest.fixture
def record():
    """Maps of the dog alone: high in the lower right quarter."""
    maps = np.zeros((1, 4, 4), np.float16)
    maps[0, 2:, 2:] = 1
    size = (4, 4)
    return SeedRecord(
        maps=maps,
        classes=(1,),
        input_shape=size,
        img_shape=size,
        ori_shape=size,
        align_corners=True,
    )


def test_image_names_its_tags():
    assert PAINTER.image(IMAGE, [0, 1]).description == 'The image. Its tags: cat, dog.'
    assert PAINTER.image(IMAGE, []).description == 'The image. Its tags: none.'


def test_maps_are_drawn_by_tag(record):
    (picture,) = PAINTER.maps(IMAGE, record)
    assert picture.title == 'map: dog'
    assert 'highest in the middle centre' in picture.description
    red = picture.pixels[..., 0].astype(int)
    assert (red[2:, 2:] > red[0, 0]).all()


def test_seeds_are_the_maps_above_the_threshold(record):
    picture = PAINTER.seeds(IMAGE, record, 0.5)
    assert picture.description == 'Seeds: background 75%, dog 25%.'
    green = picture.pixels[..., 1] > 100
    assert green.sum() == 4
    assert green[2:, 2:].all()


def test_undecided_pixels_are_named():
    labels = np.array([[0, 1], [255, 255]], np.uint8)
    picture = PAINTER.labels('pseudo label', IMAGE[:2, :2], labels)
    assert picture.description == (
        'Pseudo label: background 25%, cat 25%, undecided 50%.'
    )


def test_figure_has_a_row_an_example():
    picture = Picture('a title', '', IMAGE)
    rows = [Example('a', '', (picture,) * 3), Example('b', '', (picture,) * 2)]
    figure = examples_figure(rows)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ['a title'] * 5 + ['']
