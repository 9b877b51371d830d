"""A user's own images: every way to tag them, every mistake with its message."""

import json
import logging

import numpy as np
import pytest
from mmengine.logging import MMLogger
from PIL import Image

from mmwsss.datasets import ImagePseudoLabelDataset, ImageTagDataset
from mmwsss.datasets.image_folder import in_share, list_images
from mmwsss.datasets.palette import class_palette
from mmwsss.registry import DATASETS
from mmwsss.utils.errors import ConfigError, DataError

IMAGES = ('cats/a 1.jpg', 'cats/deep/übung.png', 'dogs/a 1.JPG', 'dogs/b.webp')
IDS = [path.rpartition('.')[0] for path in IMAGES]
TAGS = [['cat', 'red fox'], ['cat'], ['dog'], ['dog', 'cat']]
CLASSES = ('cat', 'dog', 'red fox')
NUMBERS = [[0, 2], [0], [1], [0, 1]]


@pytest.fixture
def root(tmp_path):
    root = tmp_path / 'my data'
    for path in IMAGES:
        (root / 'images' / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (6, 4), (9, 9, 9)).save(root / 'images' / path)
    lines = [f'{path},{";".join(tags)}\n' for path, tags in zip(IMAGES, TAGS)]
    (root / 'tags.csv').write_text(''.join(lines))
    return root


def own(root, **changes):
    settings = dict(
        data_root=str(root), data_prefix=dict(img_path='images'), tag_file='tags.csv'
    )
    return ImageTagDataset(**{**settings, **changes})


def records(dataset):
    return [dataset.get_data_info(index) for index in range(len(dataset))]


def ids(dataset):
    return [dataset.image_id(record['img_path']) for record in records(dataset)]


def tags(dataset):
    return [record['gt_label'] for record in records(dataset)]


def messages(caplog, build):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.WARNING):
            return build()
    finally:
        logger.removeHandler(caplog.handler)


def mask(root, image_id):
    path = root / 'masks' / f'{image_id}.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array([[0, 1]], np.uint8)).save(path)


def test_csv_alone(root):
    dataset = DATASETS.build(
        dict(
            type='mmwsss.ImageTagDataset',
            data_root=str(root),
            data_prefix=dict(img_path='images'),
            tag_file='tags.csv',
        )
    )
    assert dataset.metainfo['classes'] == ('background', *CLASSES)
    assert dataset.metainfo['palette'] == class_palette(4)
    assert ids(dataset) == IDS
    assert tags(dataset) == NUMBERS
    assert records(dataset)[1]['img_path'] == f'{root}/images/{IMAGES[1]}'
    assert 'seg_map_path' not in records(dataset)[0]


def as_json(root):
    images = dict(zip(IMAGES, TAGS))
    (root / 't.json').write_text(json.dumps(dict(classes=CLASSES, images=images)))
    return dict(tag_file='t.json')


def as_lines(root):
    lines = [json.dumps(dict(path=p, tags=t)) for p, t in zip(IMAGES, TAGS)]
    (root / 't.jsonl').write_text('\n'.join(lines))
    return dict(tag_file='t.jsonl')


def as_array(root):
    hot = np.zeros((4, 3), bool)
    for row, numbers in enumerate(NUMBERS):
        hot[row, numbers] = True
    np.save(root / 't.npy', hot)
    return dict(tag_file='t.npy', classes=CLASSES)


@pytest.mark.parametrize('write', [as_json, as_lines, as_array])
def test_other_formats_give_the_same(root, write):
    dataset = own(root, **write(root))
    assert (ids(dataset), tags(dataset)) == (IDS, NUMBERS)
    assert dataset.metainfo['classes'] == ('background', *CLASSES)


def test_a_folder_for_each_class(root):
    dataset = own(root, tag_file='images')
    assert dataset.metainfo['classes'] == ('background', 'cats', 'dogs')
    assert tags(dataset) == [[0], [0], [1], [1]]


def test_array_follows_the_list(root):
    (root / 'some.txt').write_text(f'{IDS[3]}\n{IMAGES[0]}\n')
    np.save(root / 't.npy', [[0, 1, 0], [0, 0, 1]])
    dataset = own(root, tag_file='t.npy', classes=CLASSES, ann_file='some.txt')
    assert (ids(dataset), tags(dataset)) == ([IDS[3], IDS[0]], [[1], [2]])


@pytest.mark.parametrize(
    'classes',
    [
        ['dog', 'red_fox', 'cat', 'wolf'],
        ['background', 'dog', 'red_fox', 'cat', 'wolf'],
    ],
)
def test_classes_of_the_config_set_the_order(root, classes):
    dataset = own(root, classes=classes)
    assert tags(dataset) == [[1, 2], [2], [0], [0, 2]]
    assert len(dataset.metainfo['palette']) == 5


def test_classes_of_a_file(root):
    (root / 'classes.txt').write_text('\ufeffdog\n\nred fox\ncat\n')
    assert tags(own(root, classes='classes.txt')) == [[1, 2], [2], [0], [0, 2]]


def test_names_as_another_system_writes_them(root):
    text = (root / 'tags.csv').read_text()
    changed = text.replace('ü', 'u\u0308').replace('cats/a 1.jpg', '.\\cats\\a 1')
    (root / 'tags.csv').write_text(changed)
    assert ids(own(root)) == IDS


def test_images_without_an_entry_are_left_out_and_told(root, caplog):
    lines = (root / 'tags.csv').read_text().splitlines(keepends=True)
    (root / 'tags.csv').write_text(''.join(lines[1:]))
    dataset = messages(caplog, lambda: own(root))
    assert ids(dataset) == IDS[1:]
    assert f'1 images left out ({IDS[0]}): each has no entry' in caplog.text


def test_hidden_files_are_no_images(root):
    (root / 'images/cats/._a 1.jpg').write_bytes(b'')
    (root / 'images/.previews').mkdir()
    Image.new('RGB', (2, 2)).save(root / 'images/.previews/x.jpg')
    assert list(list_images(str(root / 'images'))) == IDS


def test_log_states_images_tags_and_masks(root, caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO):
            own(root)
    finally:
        logger.removeHandler(caplog.handler)
    line = f'ImageTagDataset images: 4 images, tags of {root}/tags.csv, no masks'
    assert caplog.messages == [line]


def test_masks_are_for_evaluation(root):
    for image_id in IDS:
        mask(root, image_id)
    prefix = dict(img_path='images', seg_map_path='masks')
    dataset = own(root, data_prefix=prefix)
    paths = [record['seg_map_path'] for record in records(dataset)]
    assert paths == [f'{root}/masks/{image_id}.png' for image_id in IDS]


def test_images_without_mask(root, caplog):
    mask(root, IDS[2])
    prefix = dict(img_path='images', seg_map_path='masks')
    with pytest.raises(DataError, match=r'no mask for 3 of 4 .*cats/deep/übung'):
        own(root, data_prefix=prefix)
    drop = dict(data_prefix=prefix, without_mask='drop')
    dataset = messages(caplog, lambda: own(root, **drop))
    assert ids(dataset) == [IDS[2]]
    assert '3 images left out' in caplog.text
    (root / f'masks/{IDS[2]}.png').unlink()
    with pytest.raises(DataError, match='no mask for 4 of 4'):
        own(root, **drop)


def test_parts_are_disjoint_complete_and_stable(tmp_path):
    for i in range(60):
        Image.new('L', (1, 1)).save(tmp_path / f'{i}.png')
    lines = ''.join(f'{i}.png,cat\n' for i in range(60))
    (tmp_path / 'tags.csv').write_text(lines)
    build = dict(data_prefix=dict(img_path=''), val_share=0.3)
    train, val = (ids(own(tmp_path, part=part, **build)) for part in ('train', 'val'))
    assert sorted(train + val) == sorted(map(str, range(60)))
    assert not set(train) & set(val)
    assert 8 <= len(val) <= 28
    # an image keeps its part when others come
    Image.new('L', (1, 1)).save(tmp_path / 'new.png')
    (tmp_path / 'tags.csv').write_text(f'{lines}new.png,cat\n')
    assert set(ids(own(tmp_path, part='val', **build))) - {'new'} == set(val)


def test_share_is_the_digests():
    """SHA-256 of 'a' starts with ca978112: 0.7914 of all."""
    assert in_share('a', 0.7915)
    assert not in_share('a', 0.7913)


def lists(name, text):
    def change(root):
        (root / name).write_text(text)

    return change


def twin(root):
    Image.new('L', (1, 1)).save(root / 'images/dogs/b.png')


@pytest.mark.parametrize(
    ('change', 'settings', 'message'),
    [
        (None, dict(tag_file='no.csv'), r'no.csv does not exist; set dataset.tag_file'),
        (None, dict(data_root='/nowhere'), r'/nowhere does not exist; set'),
        (
            None,
            dict(data_prefix=dict(img_path='x')),
            r'x does not exist; set .*img_path',
        ),
        (None, dict(classes='c.txt'), r'c.txt does not exist; set classes'),
        (None, dict(classes=('cat', 'dog')), r"line 1: unknown class 'red_fox'"),
        (
            None,
            dict(classes=('Cat', 'dog', 'red fox')),
            r"class 'cat'; the closest.*Cat",
        ),
        (
            lists('tags.csv', 'x.jpg,cat\n'),
            {},
            r"line 1: no image 'x.jpg' in .*\(1 of 1",
        ),
        (lists('tags.csv', f'{IMAGES[0]},cat\n{IDS[0]},dog\n'), {}, 'line 2.*twice'),
        (
            lists('tags.csv', f'{IMAGES[0]},\n'),
            dict(classes=['a']),
            '1 of 1 .* no tags',
        ),
        (lists('l.txt', 'x\n'), dict(ann_file='l.txt'), r'names images .*\(x\)'),
        (lists('l.txt', f'{IDS[0]}\n' * 2), dict(ann_file='l.txt'), r'lists .* twice'),
        (lists('l.txt', ''), dict(ann_file='l.txt'), r'l.txt lists no image'),
        (twin, {}, r'b.png and dogs/b.webp have one id \(dogs/b\)'),
        (lists('tags.csv', ''), {}, 'tags.csv has no entry'),
        (lists('tags.csv', 'photo,animals\n'), {}, 'a head line reads path,tags'),
        (
            lambda root: (root / 'images/birds').mkdir(),
            dict(tag_file='images'),
            'birds has no image, so nothing could teach that class',
        ),
        (
            lambda root: (root / 'l.txt').write_bytes('ü'.encode('latin-1')),
            dict(ann_file='l.txt'),
            'l.txt is not in UTF-8',
        ),
        (
            lambda root: (root / 'c.txt').write_bytes('ü'.encode('latin-1')),
            dict(classes='c.txt'),
            'c.txt is not in UTF-8',
        ),
        (None, dict(part='val', val_share=1e-9), 'none of the 4 images falls to part'),
    ],
)
def test_bad_data(root, change, settings, message):
    if change:
        change(root)
    with pytest.raises(DataError, match=message):
        own(root, **settings)


def test_listed_image_without_an_entry(root):
    (root / 'tags.csv').write_text(f'{IMAGES[0]},cat\n')
    (root / 'l.txt').write_text(f'{IDS[0]}\n{IDS[1]}\n')
    with pytest.raises(DataError, match=f'has no entry for {IDS[1]}, which .*l.txt'):
        own(root, ann_file='l.txt')


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(classes=[]), r'expected 1\.\.254 names, got 0'),
        (dict(classes=['a'] * 300), r'got 300'),
        (dict(classes=[1, 2]), r'classes: expected a list of names, got \[1, 2\]'),
        (dict(classes=['red fox', 'red_fox']), 'a name is empty, repeated or'),
        (dict(classes=['a', 'background']), 'a name is empty, repeated or'),
        (dict(tag_file=None), 'the classes are not known; set classes'),
        (dict(tag_file='.'), r'is a folder: set it to the image folder .*images'),
        (dict(part='test'), "part: expected one of .* got 'test'"),
        (dict(part='val', ann_file='tags.csv'), 'no ann_file beside it'),
        (dict(val_share=1.0), r'val_share: expected a share in \(0, 1\)'),
        (dict(without_mask='skip'), "without_mask: expected 'error' or 'drop'"),
        (dict(metainfo=dict(classes=('a',))), 'set classes instead'),
        (dict(data_prefix={}), 'data_prefix needs img_path'),
    ],
)
def test_bad_settings(root, settings, message):
    with pytest.raises(ConfigError, match=message):
        own(root, **settings)


def test_mistyped_key(root):
    with pytest.raises(TypeError, match='tag_fle'):
        own(root, tag_fle='x')


def test_pseudo_labels_of_own_images(root):
    """Labels go by id, images keep their suffixes."""
    (root / 'out').mkdir()
    for image_id in IDS[:3]:
        mask(root / 'out', image_id)
    (root / 'out/masks').rename(root / 'out/labels')
    names = ['background', *CLASSES]
    manifest = dict(
        classes=names,
        pixels_per_class=dict.fromkeys(names, 1),
        images=dict.fromkeys(IDS[:3], ''),
    )
    (root / 'out/labels.json').write_text(json.dumps(manifest))
    dataset = ImagePseudoLabelDataset(
        data_root=str(root),
        data_prefix=dict(img_path='images'),
        classes=CLASSES,
        label_root=str(root / 'out'),
    )
    assert [record['img_path'] for record in records(dataset)] == [
        f'{root}/images/{path}' for path in IMAGES[:3]
    ]
    paths = [record['seg_map_path'] for record in records(dataset)]
    assert paths == [f'{root}/out/labels/{image_id}.png' for image_id in IDS[:3]]
