"""Data sets of pseudo labels, and the labels that they refuse."""

import json
import shutil

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from mmseg.datasets import PascalVOCDataset
from mmseg.registry import DATASETS as MMSEG_DATASETS
from PIL import Image

from mmwsss.datasets import PseudoLabelDataset, VOCPseudoLabelDataset
from mmwsss.utils.errors import ConfigError, DataError

CLASSES = list(PascalVOCDataset.METAINFO['classes'])
IMAGES = ['2007_000001', '2007_000002', '2007_000004']
PIPELINE = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmseg.PackSegInputs'),
]


def write_manifest(root, **changes):
    manifest = dict(
        classes=CLASSES,
        num_images=len(IMAGES),
        pixels_per_class=dict.fromkeys(CLASSES, 7),
        ignored_pixels=3,
        images=dict.fromkeys(IMAGES, '00'),
    )
    (root / 'labels.json').write_text(json.dumps({**manifest, **changes}))


@pytest.fixture
def label_root(tmp_path, voc_root):
    """Labels of three of the tree's images: here their masks."""
    root = tmp_path / 'pseudo'
    (root / 'labels').mkdir(parents=True)
    for name in IMAGES:
        shutil.copy(voc_root / f'SegmentationClass/{name}.png', root / 'labels')
    write_manifest(root)
    return root


@pytest.fixture
def make(voc_root, label_root):
    def make(kind=VOCPseudoLabelDataset, **options):
        settings = dict(
            label_root=str(label_root),
            data_root=str(voc_root),
            data_prefix=dict(img_path='JPEGImages'),
            pipeline=PIPELINE,
        )
        return kind(**{**settings, **options})

    return make


def names_of(dataset):
    return [dataset[i]['data_samples'].img_path[-15:-4] for i in range(len(dataset))]


def test_images_with_labels_are_read(make, label_root):
    dataset = make()
    assert names_of(dataset) == IMAGES
    for name, item in zip(IMAGES, dataset):
        label = np.array(Image.open(label_root / f'labels/{name}.png'))
        assert np.array_equal(item['data_samples'].gt_sem_seg.data[0], label)
    assert list(dataset.metainfo['classes']) == CLASSES


def test_list_chooses_among_them(make, tmp_path):
    split = tmp_path / 'few.txt'
    split.write_text('2007_000004\n2007_000001\n')
    assert names_of(make(ann_file=str(split))) == ['2007_000004', '2007_000001']


def test_label_root_starts_at_the_working_directory(make, label_root, monkeypatch):
    monkeypatch.chdir(label_root.parent)
    assert names_of(make(label_root='pseudo')) == IMAGES


def test_built_in_the_scope_of_mmseg_with_classes_of_its_own(label_root, voc_root):
    names = ['background', 'thing']
    pixels = dict(background=5, thing=1)
    write_manifest(label_root, classes=names, pixels_per_class=pixels)
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = MMSEG_DATASETS.build(
            dict(
                type='mmwsss.PseudoLabelDataset',
                label_root=str(label_root),
                data_root=str(voc_root),
                metainfo=dict(classes=names, palette=[[0, 0, 0], [9, 9, 9]]),
                data_prefix=dict(img_path='JPEGImages'),
                pipeline=PIPELINE,
            )
        )
    assert type(dataset) is PseudoLabelDataset
    assert len(dataset) == len(IMAGES)


def test_subset_of_classes_reads_labels_of_all(make):
    subset = dict(classes=['background', 'aeroplane'])
    dataset = make(metainfo=subset)
    label = dataset[0]['data_samples'].gt_sem_seg.data
    assert set(label.unique().tolist()) == {0, 1, 255}


# --- refused labels ---


def counts(**pixels):
    return dict.fromkeys(CLASSES, 7) | pixels


def test_background_only_is_refused(make, label_root):
    pixels = dict.fromkeys(CLASSES, 0) | dict(background=1000)
    write_manifest(label_root, pixels_per_class=pixels)
    message = r'labels\.json: no pixel is labelled as an object, only as background'
    with pytest.raises(DataError, match=message):
        make()
    with pytest.raises(DataError, match=message):
        make(allow_absent=CLASSES[1:])


def test_undecided_only_is_refused(make, label_root):
    write_manifest(label_root, pixels_per_class=dict.fromkeys(CLASSES, 0))
    with pytest.raises(DataError, match='as an object'):
        make()


@pytest.mark.parametrize('name', ['cat', 'tvmonitor', 'background'])
def test_absent_class_is_refused(make, label_root, name):
    write_manifest(label_root, pixels_per_class=counts(**{name: 0}))
    with pytest.raises(DataError, match=f'no pixel is labelled {name}, so it could'):
        make()


def test_named_classes_may_be_absent(make, label_root):
    write_manifest(label_root, pixels_per_class=counts(cat=0, dog=0))
    assert len(make(allow_absent=['cat', 'dog'])) == len(IMAGES)
    with pytest.raises(DataError, match='no pixel is labelled dog, so'):
        make(allow_absent=['cat'])


def test_unknown_absent_class_is_refused(make):
    with pytest.raises(ConfigError, match='allow_absent: catt is no class'):
        make(allow_absent=['catt'])


def test_refused_when_a_training_loads_it_later(make, label_root):
    write_manifest(label_root, pixels_per_class=counts(cat=0))
    dataset = make(lazy_init=True)
    with pytest.raises(DataError, match='no pixel is labelled cat'):
        dataset.full_init()


def test_missing_labels_are_refused(make, label_root):
    shutil.rmtree(label_root / 'labels')
    with pytest.raises(DataError, match=r'no folder .*labels; make the labels with'):
        make()
    shutil.rmtree(label_root)
    with pytest.raises(DataError, match=r'no manifest .*labels\.json; make the labels'):
        make()


@pytest.mark.parametrize('content', ['', '{"classes": [', '\xff'])
def test_torn_manifest_is_refused(make, label_root, content):
    (label_root / 'labels.json').write_bytes(content.encode('latin-1'))
    with pytest.raises(DataError, match=r'labels\.json cannot be read'):
        make()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(images=None), "no usable entry 'images'"),
        (dict(classes='cat'), "no usable entry 'classes'"),
        (dict(pixels_per_class=[1]), "no usable entry 'pixels_per_class'"),
        (dict(pixels_per_class=dict(cat=1)), r"counts \['cat'\], not the classes"),
    ],
)
def test_manifest_without_its_entries_is_refused(make, label_root, changes, message):
    write_manifest(label_root, **changes)
    with pytest.raises(DataError, match=message):
        make()


def test_manifest_that_is_no_table_is_refused(make, label_root):
    (label_root / 'labels.json').write_text('[]')
    with pytest.raises(DataError, match="no usable entry 'classes'"):
        make()


@pytest.mark.parametrize('found', [['background', 'cat'], CLASSES[:1] + CLASSES[:0:-1]])
def test_labels_of_other_classes_are_refused(make, label_root, found):
    write_manifest(label_root, classes=found, pixels_per_class=dict.fromkeys(found, 1))
    with pytest.raises(DataError, match='is of the classes .* the data set of'):
        make()


def test_labels_of_other_images_are_refused(make, label_root, tmp_path):
    split = tmp_path / 'more.txt'
    split.write_text('2007_000001\n2007_000003\n')
    with pytest.raises(DataError, match=r'without a label \(2007_000003\)'):
        make(ann_file=str(split))
    write_manifest(label_root, images={'2011_000001': '00', IMAGES[0]: '00'})
    with pytest.raises(DataError, match=r'no image for labels \(2011_000001\)'):
        make()


def test_lost_label_is_named_when_it_is_read(make, label_root):
    (label_root / f'labels/{IMAGES[1]}.png').unlink()
    with pytest.raises(DataError, match=f'mask not found: .*{IMAGES[1]}.png'):
        make()[1]


def test_masks_besides_the_labels_are_refused(make):
    prefix = dict(img_path='JPEGImages', seg_map_path='SegmentationClass')
    with pytest.raises(ConfigError, match='data_prefix.seg_map_path'):
        make(data_prefix=prefix)


def test_mistyped_setting_is_refused(make):
    with pytest.raises(TypeError, match='allow_abscent'):
        make(allow_abscent=[])
