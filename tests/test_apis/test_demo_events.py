"""What the demo answers: one line for each thing done, errors included."""

import numpy as np
import pytest
from embedded_network import SEGMENTOR, random_network
from PIL import Image

from mmwsss.apis.demo import DemoSession, example_image
from mmwsss.apis.demo_events import NO_IMAGE, DemoEvents, enlarged, enlargement


@pytest.fixture(scope='module')
def acr(tmp_path_factory):
    return random_network(tmp_path_factory.mktemp('acr'), 'acr/hybrid_embedded')


@pytest.fixture
def events(acr):
    return DemoEvents(DemoSession(acr))


def test_example_is_looked_at(acr, events):
    answer = events.choose_example(2, 0.4)
    (wanted,) = acr(example_image(2)[0].array)['predictions']
    assert answer.found.prediction.tags == wanted['tags']
    named = ', '.join(f'{tag} {wanted["scores"][tag]:.2f}' for tag in wanted['tags'])
    assert answer.status == (
        f'Example 3, 96 x 96 pixels. Tags found: {named}. Background threshold 0.40.'
    )
    assert not answer.error and not answer.stays
    assert answer.ticks == wanted['tags']
    assert answer.place == (None, None)
    np.testing.assert_array_equal(answer.picture[1::3, 2::3], wanted['image'])


def test_threshold_of_the_slider_holds_for_the_next_image(events):
    assert events.choose_example(0, 0.25).found.threshold == 0.25


def test_file_is_looked_at_and_its_size_told(events, tmp_path):
    path = tmp_path / 'wide.png'
    Image.new('RGB', (1100, 50), (90, 120, 30)).save(path)
    answer = events.choose_file(str(path), 0.4)
    assert answer.status.startswith('wide, 1024 x 47 pixels. ')
    assert answer.status.endswith('1100 x 50 pixels; it is looked at in 1024 x 47.')
    assert answer.picture.shape == (47, 1024, 3)


def test_ticked_tags_come_in_place_of_those_found(events):
    found = events.choose_example(0, 0.4).found
    answer = events.tick(found, ['cactus'], 0.3)
    assert answer.found.prediction.tags == ('cactus',)
    assert answer.found.prediction.tags_given
    assert 'Tags ticked: cactus' in answer.status
    assert answer.ticks is None
    again = events.find_tags(answer.found, 0.3)
    assert again.ticks == again.found.prediction.tags == found.prediction.tags
    assert not again.found.prediction.tags_given


def test_point_stays_through_tags_and_thresholds(acr, events):
    found = events.choose_example(0, 0.4).found
    answer = events.point(found, 7, 30)
    assert answer.status.startswith('Affinity of column 7, row 30. Example 1, 96 x 96')
    image = example_image(0)[0].array
    wanted = acr(image, point=(7, 30))['predictions'][0]['affinity']
    for later in (
        answer,
        events.move(answer.found, 0.9),
        events.tick(answer.found, ['brush'], 0.4),
    ):
        np.testing.assert_array_equal(later.found.prediction.affinity, wanted)
        assert later.found.prediction.point == (7, 30)
    assert events.choose_example(1, 0.4).found.prediction.affinity is None


@pytest.mark.parametrize(
    ('size', 'factor'), [((96, 96), 3), ((160, 20), 2), ((161, 7), 1), ((1, 1), 320)]
)
def test_click_is_of_the_enlarged_picture(size, factor):
    pixels = np.arange(np.prod(size)).reshape(*size, 1).repeat(3, 2).astype(np.uint8)
    assert enlargement(pixels) == factor
    large = enlarged(pixels)
    assert large.shape == (size[0] * factor, size[1] * factor, 3)
    for row in (0, size[0] * factor - 1):
        np.testing.assert_array_equal(large[row, 0], pixels[row // factor, 0])


def test_click_asks_for_the_pixel_below_it(events):
    found = events.choose_example(0, 0.4).found
    for click, point in (((0, 0), (0, 0)), ((2, 3), (0, 1)), ((287, 100), (95, 33))):
        answer = events.click(found, *click)
        assert answer.found.prediction.point == answer.place == point


def test_errors_are_a_line_and_leave_the_page(events):
    found = events.choose_example(0, 0.4).found
    for answer, text in (
        (events.tick(found, [], 0.4), 'no tag is ticked: tick one, or let the net'),
        (events.point(found, 96, 0), 'an image given as an array: the point 96 0'),
        (events.point(found, None, 0), 'a point has a column and a row'),
        (events.move(found, 1.5), 'background threshold: expected a number in [0, 1]'),
        (events.tick(None, ['brush'], 0.4), NO_IMAGE),
        (events.click(None, 1, 1), NO_IMAGE),
    ):
        assert answer.error and answer.stays
        assert answer.status.startswith(text)
        assert '\n' not in answer.status


def test_file_that_cannot_be_read_leaves_nothing(events, tmp_path):
    path = tmp_path / 'torn.jpg'
    path.write_bytes(b'\xff\xd8\xff\xe0')
    answer = events.choose_file(str(path), 0.4)
    assert answer.error and not answer.stays and answer.found is None
    assert answer.status.startswith('torn.jpg cannot be read')
    assert events.choose_example(0, 0.4).found is not None


def test_unforeseen_errors_are_a_line_too(events, monkeypatch, capsys):
    def fails(images, *, refiner):
        raise RuntimeError('out of memory\ntried to allocate 2 GiB')

    monkeypatch.setattr(events.session.inferencer, 'forward', fails)
    answer = events.choose_example(0, 0.4)
    assert answer.error
    assert answer.status == (
        'this did not work (RuntimeError: out of memory tried to allocate 2 GiB); try '
        'another image'
    )
    assert 'Traceback' in capsys.readouterr().err
    monkeypatch.undo()
    assert not events.choose_example(0, 0.4).error


def test_nothing_is_shown_once_the_image_is_removed(events):
    answer = events.forget()
    assert (answer.status, answer.found, answer.error) == (NO_IMAGE, None, False)


def test_no_class_is_found(events, monkeypatch):
    monkeypatch.setattr(events.session.model, 'tag_threshold', 1.0)
    status = events.choose_example(0, 0.4).status
    assert 'No class reaches a probability of 1: tick a tag' in status


def test_segmentor_says_what_it_sees(tmp_path):
    session = DemoSession(random_network(tmp_path, SEGMENTOR))
    answer = DemoEvents(session).choose_example(0, 0.4)
    tags = ', '.join(answer.found.prediction.tags) or 'nothing'
    assert answer.status == f'Example 1, 96 x 96 pixels. The segmentor sees: {tags}.'
    assert answer.ticks == ()
