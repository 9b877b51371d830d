"""Stored labels against masks: by loops, over a part of a split, in flat memory."""

import json
import runpy
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmwsss.datasets import VOCTagDataset
from mmwsss.utils.errors import DataError
from mmwsss.utils.label_codec import LabelCodec

PATH = Path(__file__).parents[2] / 'tools/analysis/label_miou.py'
CLASSES = VOCTagDataset.METAINFO['classes']
CONFIG = """
default_scope = 'mmwsss'
dataset = dict(
    type='VOCTagDataset', data_root={root!r},
    ann_file='ImageSets/Segmentation/train.txt',
)
seed_dataloader = dict(dataset=dict(**dataset, data_prefix=dict(img_path='JPEGImages')))
test_dataloader = dict(
    dataset=dict(
        **dataset,
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
    )
)
"""
LABELLED = ('2007_000001', '2007_000003', '2007_000008')


@pytest.fixture
def labels(tmp_path, voc_root):
    """Labels of three images: the masks, moved by some pixels, in part undecided."""
    codec, folder = LabelCodec(VOCTagDataset.METAINFO['palette']), tmp_path / 'out'
    (folder / 'labels').mkdir(parents=True)
    for name in LABELLED:
        with Image.open(voc_root / f'SegmentationClass/{name}.png') as image:
            label = np.roll(np.array(image), 4, axis=1)
        label[label == 255] = 0
        label[:6] = 255
        (folder / f'labels/{name}.png').write_bytes(codec.encode(label))
    manifest = dict(
        classes=list(CLASSES),
        pixels_per_class=dict.fromkeys(CLASSES, 1),
        images=dict.fromkeys(LABELLED, ''),
    )
    (folder / 'labels.json').write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def measure(tmp_path, voc_root, labels, monkeypatch, capsys):
    (tmp_path / 'config.py').write_text(CONFIG.format(root=str(voc_root)))

    def measure(*arguments):
        argv = [str(PATH), str(tmp_path / 'config.py'), str(labels), *arguments]
        monkeypatch.setattr(sys, 'argv', argv)
        try:
            runpy.run_path(str(PATH), run_name='__main__')
        except SystemExit as error:
            assert error.code == 1
        return capsys.readouterr()

    return measure


def by_loops(voc_root, labels, *, decided):
    """Mean IoU of the classes that occur, pixel by pixel."""
    hits, labelled, shown = np.zeros((3, 21), int)
    for name in LABELLED:
        label = np.array(Image.open(labels / f'labels/{name}.png'))
        mask = np.array(Image.open(voc_root / f'SegmentationClass/{name}.png'))
        for place in np.ndindex(mask.shape):
            if mask[place] == 255 or (decided and label[place] == 255):
                continue
            shown[mask[place]] += 1
            if label[place] != 255:
                labelled[label[place]] += 1
                hits[mask[place]] += label[place] == mask[place]
    ratios = [100 * h / (s + n - h) for h, n, s in zip(hits, labelled, shown) if s + n]
    return sum(ratios) / len(ratios)


def test_figures(measure, voc_root, labels, tmp_path):
    out = measure('--metrics', str(tmp_path / 'figures.json')).out
    found = json.loads((tmp_path / 'figures.json').read_text())
    assert (found['split'], found['images'], found['of']) == ('train', 3, 8)
    for name, decided in (('mIoU', False), ('mIoU_decided', True)):
        expected = by_loops(voc_root, labels, decided=decided)
        assert found[name] == pytest.approx(expected, abs=0.01)
    assert 0 < found['undecided'] < 20
    assert found['IoU_classwise']['cat'] is None
    assert f'images 3\nof 8\nmIoU {found["mIoU"]}\n' in out
    # a split without masks of its own
    again = str(tmp_path / 'again.json')
    measure('--loader', 'seed', '--masks', 'SegmentationClass', '--metrics', again)
    assert json.loads(Path(again).read_text()) == found


def test_masks_as_labels_are_perfect(measure, voc_root, labels):
    for name in LABELLED:
        mask = (voc_root / f'SegmentationClass/{name}.png').read_bytes()
        (labels / f'labels/{name}.png').write_bytes(mask)
    assert 'mIoU 100.0\nmIoU_decided 100.0\nundecided 0.0\n' in measure().out


@pytest.mark.parametrize(
    ('change', 'arguments', 'message'),
    [
        (None, ('--loader', 'val'), 'the config has no val_dataloader'),
        (None, ('--loader', 'seed'), 'seed_dataloader names no masks of a TagDataset'),
        (None, ('--masks', 'No'), 'No does not exist'),
        (lambda f: (f / 'labels.json').write_text('['), (), 'cannot be read'),
        (
            lambda f: [p.unlink() for p in f.glob('labels/*')],
            (),
            'none of the 8 images of test_dataloader has a label',
        ),
        (
            lambda f: (f / 'labels/2007_000001.png').write_bytes(b'torn'),
            (),
            '2007_000001.png: no sound PNG',
        ),
        (
            lambda f: (f / 'labels/2007_000001.png').write_bytes(
                (f / 'labels/2007_000003.png').read_bytes()
            ),
            (),
            '2007_000001.png is (48, 64), the mask (40, 60) (height, width)',
        ),
    ],
)
def test_what_cannot_be_measured(measure, labels, change, arguments, message):
    if change:
        change(labels)
    error = measure(*arguments).err
    assert message in error.splitlines()[-1]


def test_labels_of_other_classes(measure, labels):
    manifest = json.loads((labels / 'labels.json').read_text())
    names = ['background', 'cat']
    manifest.update(classes=names, pixels_per_class=dict.fromkeys(names, 1))
    (labels / 'labels.json').write_text(json.dumps(manifest))
    assert "has labels of ['background', 'cat'], the data set" in measure().err


def test_memory_does_not_grow_with_the_images():
    count_pixels = runpy.run_path(str(PATH))['count_pixels']

    def peak(images):
        def stream():
            for index in range(images):
                plane = np.full((200, 200), index % 3, np.uint8)
                yield str(index), plane, plane.copy()

        tracemalloc.start()
        counts, found = count_pixels(stream(), 3)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found == images and counts.sum() == images * 200 * 200
        return top

    peak(2)
    assert peak(60) < 1.2 * peak(6)


def test_mask_of_another_class():
    count_pixels = runpy.run_path(str(PATH))['count_pixels']
    plane = np.full((2, 2), 3, np.uint8)
    with pytest.raises(DataError, match=r'mask of a holds 3; expected 0\.\.2 or 255'):
        count_pixels([('a', plane, plane)], 3)
