"""What the demo asks of a network: against the inferencer and plain definitions."""

from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from embedded_network import SEGMENTOR, random_network
from PIL import Image

from mmwsss.apis import demo
from mmwsss.apis.demo import DemoSession, example_image, open_image, shrunk
from mmwsss.datasets.synthetic import draw_scene
from mmwsss.refiners import Refiner
from mmwsss.utils.errors import ConfigError, DataError

ACR = 'acr/hybrid_embedded'
CLASSIFIERS = [ACR, 'rca/embedded', 'cam/embedded']
IMAGE = example_image(0)[0]


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """An inferencer of each config, made once."""
    folder, made = tmp_path_factory.mktemp('networks'), {}

    def network(name):
        if name not in made:
            made[name] = random_network(folder, name)
        return made[name]

    return network


@pytest.fixture
def session(network):
    return DemoSession(network(ACR))


@dataclass(frozen=True, kw_only=True)
class Striped(Refiner):
    """A label of its own making."""

    def refine(self, maps, image, tags):
        return torch.arange(image.shape[1]).expand(image.shape[:2]) % 2


def assert_same(found, wanted):
    """Whether a prediction is the one of an inferencer's call, to the bit."""
    for name, value in wanted.items():
        if name not in ('name', 'path'):
            np.testing.assert_equal(getattr(found, name), value, err_msg=name)


@pytest.mark.parametrize('name', CLASSIFIERS)
@pytest.mark.parametrize('tags', [None, ('brush', 'beetle')])
def test_first_look_is_the_inferencers(network, name, tags):
    look = network(name)
    (wanted,) = look(IMAGE.array, tags=tags)['predictions']
    found = DemoSession(look).look(IMAGE, tags=tags)
    assert found.threshold == look.model.background_threshold == 0.4
    assert wanted['tags_given'] == (tags is not None)
    assert_same(found.prediction, wanted)


@contextmanager
def counted_calls(model):
    """List each part of a network that runs, in the order they end in."""
    calls = []
    handles = [
        part.register_forward_hook(lambda part, *_: calls.append(part))
        for part in model.modules()
    ]
    yield calls
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize('threshold', [0.0, 0.31, 1.0])
def test_threshold_moves_without_the_network(network, session, threshold):
    with counted_calls(session.model) as calls:
        first = session.look(IMAGE, tags=['torch', 'radio'])
        assert calls.pop() is session.model
        calls.clear()
        found = session.at_threshold(first, threshold)
        assert not calls
    assert found.threshold == threshold
    maps = found.prediction.localization
    winner = np.array([1, 4])[maps.argmax(0)]
    above = maps.max(0) > np.float32(threshold)
    np.testing.assert_array_equal(found.prediction.seeds, np.where(above, winner, 0))
    # the label is that of the config's refiner at this threshold
    wanted = network(ACR)(
        IMAGE.array,
        tags=['torch', 'radio'],
        refiner=dict(type='pamr', background_threshold=threshold),
    )['predictions'][0]['label']
    np.testing.assert_array_equal(found.prediction.label, wanted)
    # and what was there is left
    assert first.threshold == 0.4
    assert_same(session.at_threshold(found, 0.4).prediction, vars(first.prediction))


def test_second_threshold_goes_up_with_the_first(network):
    band = dict(type='threshold', background_threshold=0.2, foreground_threshold=0.5)
    session = DemoSession(network(ACR), refiner=band)
    found = session.look(IMAGE, tags=['torch'], threshold=0.2)
    scores = found.prediction.localization[0]
    wanted = np.select([scores > np.float32(0.5), scores > np.float32(0.2)], [1, 255])
    np.testing.assert_array_equal(found.prediction.label, wanted)
    assert (wanted == 255).any()
    label = session.at_threshold(found, 0.7).prediction.label
    np.testing.assert_array_equal(label, scores > np.float32(0.7))


def test_refiner_without_the_threshold_keeps_its_label(network):
    session = DemoSession(network(ACR), refiner=dict(type=Striped))
    found = session.look(IMAGE, tags=['torch'])
    moved = session.at_threshold(found, 0.9).prediction
    np.testing.assert_array_equal(moved.label, np.arange(96)[None].repeat(96, 0) % 2)
    assert (moved.seeds != found.prediction.seeds).any()
    assert 'by Striped, which sets the background itself' in session.label_rule
    assert 'by PAMRRefiner, at the same' in DemoSession(network(ACR)).label_rule


def test_image_without_a_class(session, monkeypatch):
    monkeypatch.setattr(session.model, 'tag_threshold', 0.0)
    assert session.look(IMAGE).prediction.tags == session.classes
    monkeypatch.setattr(session.model, 'tag_threshold', 1.0)
    found = session.at_threshold(session.look(IMAGE), 0.1)
    assert found.prediction.tags == ()
    assert not found.prediction.label.any()
    assert not found.prediction.seeds.any()


@pytest.mark.parametrize('point', [(0, 0), (95, 95), (40.0, 7.0)])
def test_affinity_is_the_inferencers(network, session, point):
    found = session.at_point(session.look(IMAGE), point)
    (wanted,) = network(ACR)(IMAGE.array, point=point)['predictions']
    assert_same(found.prediction, wanted)
    assert found.prediction.affinity.shape == (96, 96)


def test_places_that_are_none(session):
    found = session.look(IMAGE)
    with pytest.raises(DataError, match='the point 96 0 .* columns go from 0 to 95'):
        session.at_point(found, (96, 0))
    for place in ((None, 3), (3, None)):
        with pytest.raises(ConfigError, match='a column and a row: enter both'):
            session.at_point(found, place)


def test_tags_and_thresholds_that_are_none(session):
    with pytest.raises(ConfigError, match='no tag is ticked: tick one'):
        session.look(IMAGE, tags=[])
    with pytest.raises(ConfigError, match="no class 'unicorn'"):
        session.look(IMAGE, tags=['unicorn'])
    for threshold in (-0.1, 1.5, float('nan')):
        with pytest.raises(ConfigError, match=r'threshold: expected .* in \[0, 1\]'):
            session.look(IMAGE, threshold=threshold)


@pytest.mark.parametrize('name', CLASSIFIERS[1:])
def test_networks_without_attention_say_so(network, name):
    session = DemoSession(network(name))
    assert 'no attention between patches' in session.missing_affinity
    assert session.missing_tags == ''
    with pytest.raises(ConfigError, match='no attention between patches'):
        session.at_point(session.look(IMAGE), (1, 1))


def test_segmentor_labels_alone(network):
    look = network(SEGMENTOR)
    session = DemoSession(look)
    found = session.look(IMAGE, threshold=0.3)
    (wanted,) = look(IMAGE.array)['predictions']
    assert_same(found.prediction, wanted)
    assert_same(session.at_threshold(found, 0.9).prediction, wanted)
    assert 'is a segmentor' in session.missing_tags
    assert session.missing_affinity
    assert session.label_rule == 'The label is the segmentor’s own.'
    with pytest.raises(ConfigError, match='it labels without tags. Tick none'):
        session.look(IMAGE, tags=['torch'])
    with pytest.raises(ConfigError, match='refiner is for classifiers'):
        DemoSession(look, refiner='pamr')


def test_refiner_that_does_not_exist(network):
    with pytest.raises(ConfigError, match='no refiner'):
        DemoSession(network(ACR), refiner='magic')


def test_file_is_opened_as_the_inferencer_opens_it(network, session, tmp_path):
    path = tmp_path / 'own name.jpg'
    Image.fromarray(IMAGE.array[..., ::-1]).save(path, exif=rotated())
    image, done = open_image(path)
    assert (image.name, done) == ('own name', '')
    (wanted,) = network(ACR)(path, tags='torch')['predictions']
    found = session.look(image, tags=['torch'])
    assert_same(found.prediction, wanted)
    turned = np.rot90(IMAGE.array[..., ::-1], -1)
    assert np.abs(found.prediction.image - turned.astype(float)).mean() < 20


def rotated():
    """EXIF that says: turn by 90 degrees, clockwise."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_large_image_is_made_smaller_and_says_so(tmp_path):
    columns = np.linspace(0, 255, 2000).astype(np.uint8)
    path = tmp_path / 'wide.png'
    Image.fromarray(np.stack([columns] * 3, 1)[None].repeat(500, 0)).save(path)
    image, done = open_image(path)
    assert image.array.shape == (256, 1024, 3)
    assert done == 'The file has 2000 x 500 pixels; it is looked at in 1024 x 256.'
    # a ramp stays one
    wanted = np.linspace(0, 255, 1024)
    assert np.abs(image.array[100, :, 0] - wanted).max() < 2
    assert shrunk(image.array) is image.array
    assert shrunk(image.array[:1], 100).shape == (1, 100, 3)


def test_files_that_are_no_images(tmp_path, monkeypatch):
    path = tmp_path / 'notes.png'
    path.write_text('not an image')
    with pytest.raises(DataError, match=r'^notes.png cannot be read: it is no image;'):
        open_image(path)
    pixels = np.arange(40 * 40 * 3).reshape(40, 40, 3) ** 2 % 251
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / 'whole.png')
    torn = tmp_path / 'torn.png'
    torn.write_bytes((tmp_path / 'whole.png').read_bytes()[:200])
    with pytest.raises(DataError, match=r'^torn.png cannot be read: .*; choose'):
        open_image(torn)
    monkeypatch.setattr(demo, 'MOST_PIXELS', 1599)
    with pytest.raises(DataError, match=r'^whole.png is too large: more than'):
        open_image(tmp_path / 'whole.png')
    monkeypatch.setattr(demo, 'MOST_PIXELS', 1600)
    assert open_image(tmp_path / 'whole.png')[0].array.shape == (40, 40, 3)
    # Pillow itself refuses twice its own limit
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 700)
    with pytest.raises(DataError, match='is too large'):
        open_image(tmp_path / 'whole.png')


def test_examples_are_generated_images():
    for index in (0, 3):
        image, tags = example_image(index)
        scene = draw_scene(0, 'test', index, 96)
        np.testing.assert_array_equal(image.array[..., ::-1], scene.image)
        assert tags == scene.tags
        assert image.name == f'Example {index + 1}'


def test_findings_are_not_changed_by_what_follows(session):
    found = session.look(IMAGE, tags=['torch'])
    kept = replace(found.prediction, seeds=found.prediction.seeds.copy())
    session.at_point(session.at_threshold(found, 0.9), (3, 3))
    assert_same(found.prediction, vars(kept))
