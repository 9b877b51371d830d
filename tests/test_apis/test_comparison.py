"""Methods side by side: cells are the inferencer's, the order is that of the IoU."""

import json
import shutil

import numpy as np
import pytest
import torch
from compared_networks import write_networks
from mmengine.config import Config
from PIL import Image

from mmwsss.apis.compared_images import (
    ComparedImage,
    images_of_data_set,
    images_of_files,
)
from mmwsss.apis.compared_methods import load_methods
from mmwsss.apis.comparison import (
    AFFINITY,
    FOUND,
    LABEL,
    MAPS,
    SEEDS,
    Comparison,
    ComparisonSettings,
)
from mmwsss.apis.comparison_drawing import draw_comparison
from mmwsss.utils.digests import digest_file
from mmwsss.utils.errors import CheckpointError, ConfigError, DataError
from mmwsss.visualization.overlays import heat_overlay, label_overlay
from mmwsss.visualization.predictions import mark_point

TWO = '2007_000001'
"""An image of two classes, aeroplane and person."""


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    return tmp_path_factory.mktemp('compared')


@pytest.fixture(scope='module')
def kept():
    """What the first test of this module has made for all."""
    return {}


@pytest.fixture
def entries(kept, place, voc_root):
    if 'entries' not in kept:
        shutil.copytree(voc_root, place / 'VOC2012')
        kept['entries'] = write_networks(place, place / 'VOC2012')
    return kept['entries']


@pytest.fixture
def methods(kept, entries):
    if 'methods' not in kept:
        kept['methods'] = load_methods(
            entries, device='cpu', background_thresholds=[0.2, 0.5, 0.9]
        )
    return kept['methods']


@pytest.fixture
def images(kept, entries, methods):
    if 'images' not in kept:
        config = Config.fromfile(entries[0][1])
        classes = methods[0].inferencer.painter.classes
        kept['images'] = images_of_data_set(config, 'test', classes)
    return kept['images']


def compare(methods, **settings):
    return Comparison(methods, ComparisonSettings(**settings))


def cells(figure, columns):
    """Return the shown pixels by row, and the notes below."""
    grid = np.array(figure.axes).reshape(-1, columns)
    pixels = [[a.images[0].get_array() if a.images else None for a in r] for r in grid]
    return pixels, [[axes.get_xlabel() for axes in row] for row in grid]


def judged_by_hand(label, mask):
    ratios = []
    seen = mask != 255
    for index in np.union1d(label[seen], mask[seen]):
        both = ((label == index) & (mask == index) & seen).sum()
        ratios.append(both / (((label == index) | (mask == index)) & seen).sum())
    return float(np.mean(ratios))


def test_cells_are_the_inferencers_own_pictures(methods, images):
    comparison = compare(methods, show=(MAPS, SEEDS, LABEL), refiner='threshold')
    assert [image.name for image in images][:1] == [TWO]
    rows = comparison.rows(images[:1])
    assert [row.tag for row in rows] == ['aeroplane', 'person']
    figure = draw_comparison(comparison, rows)
    heads = [axes.get_title() for axes in figure.axes[:9]]
    kinds = ['map', 'seeds', 'pseudo label']
    both = [f'{name}\n{kind}' for kind in kinds for name in ('first', 'second')]
    assert heads == ['image', 'ground truth', *both, 'segmentor\nprediction']
    pixels, notes = cells(figure, 9)
    with Image.open(images[0].mask_path) as mask:
        mask = np.array(mask)
    paint = methods[0].inferencer.painter.palette
    for place, method in enumerate(methods[:2]):
        look = method.inferencer
        (own,) = look(
            images[0].path, tags=['aeroplane', 'person'], refiner='threshold'
        )['predictions']
        for line, heat in zip(pixels, own['localization']):
            wanted = heat_overlay(own['image'], heat)
            np.testing.assert_array_equal(line[2 + place], wanted)
        for column, name in ((4, 'seeds'), (6, 'label')):
            wanted = label_overlay(own['image'], own[name], paint)
            np.testing.assert_array_equal(pixels[0][column + place], wanted)
            value = 100 * judged_by_hand(own[name], mask)
            assert notes[0][column + place] == f'IoU {value:.1f}'
    np.testing.assert_array_equal(pixels[0][0], own['image'])
    np.testing.assert_array_equal(
        pixels[0][1], label_overlay(own['image'], mask, paint)
    )
    (label,) = methods[2].inferencer(images[0].path)['predictions']
    wanted = label_overlay(own['image'], label['label'], paint)
    np.testing.assert_array_equal(pixels[0][8], wanted)
    named = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {'aeroplane', 'person'} <= named and 'background' not in named


@pytest.mark.parametrize('worst', [True, False])
def test_order_is_that_of_the_iou(methods, images, worst):
    comparison = compare(methods, show=(SEEDS,), batch_size=3)
    images, values = images[:5], []
    found = comparison.rank(images, 'second', count=3, worst=worst)
    for image in images:
        look = methods[1].inferencer
        (own,) = look(image.path, tags=image.own_tags(comparison.painter.classes))[
            'predictions'
        ]
        with Image.open(image.mask_path) as mask:
            values.append((judged_by_hand(own['seeds'], np.array(mask)), image.name))
    values.sort(reverse=not worst)
    assert [image.name for image, _ in found] == [name for _, name in values[:3]]
    np.testing.assert_allclose([v for _, v in found], [v for v, _ in values[:3]])


def test_images_without_a_judged_pixel_have_no_rank(methods, images, tmp_path):
    blank = Image.fromarray(np.full((40, 60), 255, np.uint8))
    blank.save(tmp_path / f'{TWO}.png')
    (other,) = images_of_files([images[0].path], tmp_path)
    comparison = compare(methods, show=(SEEDS,))
    ranked = comparison.rank([other, images[1]], 'segmentor', count=5)
    assert [image.name for image, _ in ranked] == [images[1].name]


def test_points_have_rows_with_their_affinity(methods, images):
    points = ((TWO, 10, 5), (TWO, 50, 30))
    comparison = compare(methods, show=(AFFINITY,), points=points)
    rows = comparison.rows(images[:1])
    pixels, _ = cells(draw_comparison(comparison, rows), 5)
    assert len(pixels) == 2
    for line, (_, x, y) in zip(pixels, points):
        for place in (0, 1):
            look = methods[place].inferencer
            own = look(images[0].path, tags='person', point=(x, y))['predictions'][0]
            wanted = mark_point(heat_overlay(own['image'], own['affinity']), (x, y))
            np.testing.assert_array_equal(line[2 + place], wanted)
        np.testing.assert_array_equal(line[0], mark_point(own['image'], (x, y)))
    assert [row['point'] for row in comparison.record(rows)['rows']] == [
        (10, 5),
        (50, 30),
    ]


def test_tags_are_given_found_or_named(methods, images):
    def tags(**settings):
        rows = compare(methods[:2], show=(SEEDS,), **settings).rows(images[:1])
        return [p.tags for p in rows[0].predictions]

    assert tags() == [('aeroplane', 'person')] * 2
    assert tags(tags=('cat',)) == [('cat',)] * 2
    found = [
        tuple(m.inferencer(images[0].path)['predictions'][0]['tags'])
        for m in methods[:2]
    ]
    assert tags(tags=FOUND) == found
    # images that nothing is known of
    plain = [ComparedImage('x', images[0].path)]
    assert compare(methods[:2]).rows(plain)[0].predictions[0].tags == found[0]


def test_image_of_background_alone(methods, images, tmp_path):
    Image.fromarray(np.zeros((40, 60), np.uint8)).save(tmp_path / f'{TWO}.png')
    found = images_of_files([images[0].path], tmp_path)
    comparison = compare(methods[:1], show=(MAPS, SEEDS))
    (row,) = comparison.rows(found)
    assert (row.tag, row.predictions[0].tags) == (None, ())
    assert comparison.iou(found[0], row.predictions[0], SEEDS) == 1
    pixels, notes = cells(draw_comparison(comparison, [row]), 4)
    assert pixels[0][2] is None
    assert notes[0][3] == 'IoU 100.0'


def test_map_that_a_method_has_not_found_is_left_out(methods, images):
    comparison = compare(methods[:2], show=(MAPS,), tags=FOUND)
    rows = comparison.rows(images[:1])
    first, second = (p.tags for p in rows[0].predictions)
    classes = comparison.painter.classes
    union = [name for name in classes if name in (*first, *second)]
    assert [row.tag for row in rows] == union
    alone = [
        [t for t in a if t not in b] for a, b in ((first, second), (second, first))
    ]
    some = [row for row in rows if row.tag in (alone[0][0], alone[1][0])]
    pixels, _ = cells(draw_comparison(comparison, some), 4)
    shown = [[cell is not None for cell in line[2:]] for line in pixels]
    assert shown == [[row.tag in first, row.tag in second] for row in some]
    assert sorted(shown) == [[False, True], [True, False]]


def test_record_tells_what_is_drawn(methods, images):
    comparison = compare(methods, show=(MAPS,))
    record = comparison.record(comparison.rows(images[1:2]))
    assert json.loads(json.dumps(record))['rows'][0]['image'] == images[1].name
    (row,) = record['rows']
    assert (row['tag'], row['path']) == ('cat', images[1].path)
    assert row['mask'] == images[1].mask_path
    assert row['methods']['first']['tags_given']
    assert set(row['methods']['first']['scores']) == {'cat'}
    assert row['methods']['first']['iou'] == {}
    assert set(row['methods']['segmentor']['iou']) == {'prediction'}
    first, _, last = record['methods']
    assert first['sha256'] == digest_file(methods[0].checkpoint)
    assert [m.get('background_threshold') for m in record['methods']] == [
        0.2,
        0.5,
        None,
    ]
    assert last['name'] == 'segmentor'


def test_networks_that_cannot_be_compared(entries, place):
    first, second, _ = entries
    with pytest.raises(ConfigError, match=r"names of their own, got \['a', 'a'\]"):
        load_methods([('a', *first[1:]), ('a', *second[1:])])
    with pytest.raises(ConfigError, match='names of their own, got '):
        load_methods([])
    with pytest.raises(ConfigError, match='or 3, one a method, got 2'):
        load_methods(entries, background_thresholds=[0.1, 0.2])
    with pytest.raises(CheckpointError, match='method second: .*second.gone'):
        load_methods([first, (*second[:2], f'{place}/second.gone')])


def test_checkpoint_of_another_class_list(entries, place):
    first, second, _ = entries
    content = torch.load(second[2], weights_only=True)
    names = ['background', *(f'c{n}' for n in range(20))]
    content['meta'] = dict(dataset_meta=dict(classes=names))
    torch.save(content, place / 'other.pth')
    message = 'method other: the network has 21 classes, the first method 21 .c0, c1'
    with pytest.raises(ConfigError, match=message):
        load_methods([first, ('other', second[1], str(place / 'other.pth'))])


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(show=()), 'show: expected some of .*, got'),
        (dict(show=('maps', 'cam')), "got .'maps', 'cam'."),
        (dict(show=(AFFINITY,)), 'affinity is that of a point'),
        (dict(points=((TWO, 1, 1),)), 'affinity is that of a point'),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ConfigError, match=message):
        ComparisonSettings(**settings)


def test_images_that_make_no_sense(methods, images, tmp_path):
    comparison = compare(methods, show=(SEEDS,))
    with pytest.raises(ConfigError, match="no method 'third'; there are first, second"):
        comparison.rank(images, 'third', count=1)
    with pytest.raises(ConfigError, match='of 0 images with masks'):
        comparison.rank([ComparedImage('x', 'x.jpg')], 'first', count=1)
    with pytest.raises(DataError, match='method first: image cannot be read: x.jpg'):
        comparison.rows([ComparedImage('x', 'x.jpg')])
    with pytest.raises(ConfigError, match="method second: no class 'dragon'"):
        compare(methods[1:], show=(SEEDS,), tags=('dragon',)).rows(images[:1])
    asked = compare(methods[:1], show=(AFFINITY,), points=(('gone', 1, 1),))
    with pytest.raises(ConfigError, match="no image 'gone'; there are 8, as 2007_0"):
        asked.rows(images)
    outside = compare(methods[:1], show=(AFFINITY,), points=((TWO, 99, 1),))
    with pytest.raises(DataError, match='method first: .* the point 99 1'):
        outside.rows(images)
