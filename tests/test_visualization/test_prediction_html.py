"""Parts of the demo's page: texts for pictures, shares of labels, names escaped."""

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from mmwsss.visualization.examples import Painter
from mmwsss.visualization.overlays import data_uri, heat_overlay, label_overlay
from mmwsss.visualization.prediction_html import (
    label_marks,
    label_shares,
    pictures_html,
    scores_html,
)
from mmwsss.visualization.predictions import Prediction, mark_point

CLASSES = ('background', 'cat', 'dog', '<b>cow')
PALETTE = ((0, 0, 0), (200, 0, 0), (0, 200, 0), (0, 0, 200))
PAINTER = Painter(CLASSES, PALETTE)
MAPS = np.stack([np.eye(4), np.ones((4, 4))]).astype(np.float32)
SEEDS = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 3], [0, 0, 0, 3]], np.uint8)
LABEL = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [255] * 4, [3] * 4], np.uint8)
FOUND = Prediction(
    name='a',
    path=None,
    image=np.arange(48).reshape(4, 4, 3).astype(np.uint8),
    tags=('cat', '<b>cow'),
    tags_given=True,
    scores={'cat': 0.25, 'dog': 0.125, '<b>cow': 0.5},
    localization=MAPS,
    seeds=SEEDS,
    label=LABEL,
    point=(1.0, 2.0),
    affinity=np.eye(4, dtype=np.float32),
)


class Part(HTMLParser):
    """Collects images, cells of tables and text; checks that tags nest."""

    def __init__(self, text):
        super().__init__()
        self.images, self.rows, self.marks, self.open = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == 'img':
            self.images.append(attributes)
            return
        self.open.append(tag)
        if tag == 'tr':
            self.rows.append([])
        if tag == 'span':
            assert attributes['aria-hidden'] == 'true'
            self.marks.append(attributes['style'])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {'th', 'td'} & set(self.open):
            self.rows[-1].append(data)


def test_each_picture_is_there_with_its_words():
    images = Part(pictures_html(PAINTER, FOUND, rule='By hand.')).images
    image = FOUND.image
    wanted = [
        heat_overlay(image, MAPS[0]),
        heat_overlay(image, MAPS[1]),
        label_overlay(image, SEEDS, PALETTE),
        label_overlay(image, LABEL, PALETTE),
        mark_point(heat_overlay(image, FOUND.affinity), (1, 2)),
    ]
    assert [i['src'] for i in images] == [data_uri(pixels) for pixels in wanted]
    assert [i['alt'] for i in images] == [
        'Localization map of cat, probability 0.25, over the image.',
        'Localization map of <b>cow, probability 0.50, over the image.',
        'Seeds: background 62%, cat 25%, <b>cow 12%.',
        'Pseudo label: background 25%, cat 25%, <b>cow 25%, undecided 25%.',
        'The affinity of 1 2 (column, row) over the image.',
    ]


def test_labels_are_told_by_number_name_and_share():
    text = pictures_html(PAINTER, FOUND, rule='By <hand>.')
    assert Part(text).rows == [
        ['label', 'seeds', 'pseudo label'],
        ['0 background (darkened image)', '62.5', '25.0'],
        ['1 cat', '25.0', '25.0'],
        ['3 <b>cow', '12.5', '25.0'],
        ['255 undecided', '0.0', '25.0'],
    ]
    assert '<b>' not in text
    assert '<p>By &lt;hand&gt;.</p>' in text
    assert text.count('background: rgb(200, 0, 0)') == 1


def test_numbers_lie_on_their_labels():
    found = {label: (left, top) for label, left, top in label_marks(SEEDS)}
    assert set(found) == {1, 3}
    for label, (left, top) in found.items():
        assert SEEDS[int(top / 25), int(left / 25)] == label
    # amid the largest part, not between the parts
    parts = np.zeros((20, 20), np.uint8)
    parts[3:10, 2:9], parts[15, ::3] = 1, 1
    assert label_marks(parts) == [(1, 27.5, 32.5)]
    # a ring's middle is not of the ring; its number is
    ring = np.ones((5, 5), np.uint8)
    ring[1:4, 1:4] = 0
    ((_, left, top),) = label_marks(ring)
    assert ring[int(top / 20), int(left / 20)] == 1
    assert label_marks(np.full((2, 2), 255, np.uint8)) == []
    assert len(Part(pictures_html(PAINTER, FOUND, rule='')).marks) == 4


def test_shares_add_up():
    shares = label_shares(LABEL)
    assert shares == {0: 0.25, 1: 0.25, 3: 0.25, 255: 0.25}
    assert label_shares(np.zeros((3, 3), np.uint8)) == {0: 1.0}


def test_segmentor_has_a_prediction_and_no_heat():
    found = replace(
        FOUND, localization=None, seeds=None, affinity=None, point=None, scores={}
    )
    text = pictures_html(PAINTER, found, rule='')
    part = Part(text)
    assert [i['alt'][:11] for i in part.images] == ['Prediction:']
    assert part.rows[0] == ['label', 'prediction']
    assert 'class="heat"' not in text
    assert 'A segmentor gives none.' in scores_html(found)


@pytest.mark.parametrize('count', [3, 8, 9, 20])
def test_probabilities_come_sorted_and_the_rest_on_demand(count):
    scores = {f'class {i}': (7 * i % count) / count for i in range(count)}
    text = scores_html(replace(FOUND, scores=scores, tags=('class 1',)))
    rows = [row for row in Part(text).rows if row[0] != 'class']
    wanted = sorted(scores.items(), key=lambda item: -item[1])
    assert rows == [
        [name, f'{score:.3f}', 'yes' if name == 'class 1' else 'no']
        for name, score in wanted
    ]
    more = max(0, count - 8)
    assert text.count('<details>') == (more > 0)
    assert not more or f'The other {more} classes' in text
