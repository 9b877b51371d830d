"""Quality of labels: figures by loops over pixels, the table, and flat memory."""

import importlib
import json
import math
import runpy
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from scipy.spatial.distance import cdist

from mmwsss.datasets import VOCTagDataset
from mmwsss.utils.label_codec import LabelCodec

PATH = Path(__file__).parents[2] / 'tools/analysis/pseudo_label_quality.py'
CLASSES = VOCTagDataset.METAINFO['classes']
CONFIG = """
default_scope = 'mmwsss'
test_dataloader = dict(
    dataset=dict(
        type='VOCTagDataset', data_root={root!r},
        ann_file='ImageSets/Segmentation/train.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
    )
)
"""
LABELLED = ('2007_000001', '2007_000003', '2007_000008')


@pytest.fixture
def labels(tmp_path, voc_root):
    """Labels of three images: masks moved by a pixel a class, in part undecided."""
    codec, folder = LabelCodec(VOCTagDataset.METAINFO['palette']), tmp_path / 'out'
    (folder / 'labels').mkdir(parents=True)
    for name in LABELLED:
        mask = np.array(Image.open(voc_root / f'SegmentationClass/{name}.png'))
        label = np.zeros_like(mask)
        for index in np.setdiff1d(mask, (0, 255)):
            label[np.roll(mask == index, int(index) % 4, axis=1)] = index
        label[:9, :20] = 255
        (folder / f'labels/{name}.png').write_bytes(codec.encode(label))
    manifest = dict(
        classes=list(CLASSES),
        pixels_per_class=dict.fromkeys(CLASSES, 1),
        images=dict.fromkeys(LABELLED, ''),
        extra_supervision='saliency',
    )
    (folder / 'labels.json').write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def quality(tmp_path, voc_root, labels, monkeypatch, capsys):
    """Run the tool; return what it printed and its figures, or its error line."""
    (tmp_path / 'config.py').write_text(CONFIG.format(root=str(voc_root)))
    monkeypatch.syspath_prepend(PATH.parent)
    metrics = tmp_path / 'm.json'

    def run(*arguments):
        argv = [str(PATH), str(tmp_path / 'config.py'), str(labels), *arguments]
        monkeypatch.setattr(sys, 'argv', [*argv, '--metrics', str(metrics)])
        try:
            runpy.run_path(str(PATH), run_name='__main__')
        except SystemExit as error:
            assert error.code == 1
            return capsys.readouterr().err
        return capsys.readouterr().out, json.loads(metrics.read_text())

    return run


def boundary_places(labels, index):
    """Places of a class that some 4-neighbour does not share."""
    inside = labels == index
    cross = ndimage.generate_binary_structure(2, 1)
    kept = ndimage.binary_erosion(inside, cross, border_value=1)
    return np.argwhere(inside & ~kept)


def f_by_distances(label, mask, index, radius):
    found, true = boundary_places(label, index), boundary_places(mask, index)
    if not len(found) + len(true):
        return None
    if not len(found) or not len(true):
        return 0.0
    distances = cdist(found, true)
    right = distances.min(1) <= radius
    judged = right | (mask[tuple(found.T)] != 255)
    precision = right.sum() / judged.sum()
    recall = (distances.min(0) <= radius).mean()
    return 2 * precision * recall / (precision + recall) if right.any() else 0.0


def expected_figures(voc_root, labels, tolerance):
    """Boundary F, IoU, IoU over decided pixels and undecided share of each class."""
    scores = {index: [] for index in range(21)}
    counts = np.zeros((22, 21), int)
    for name in LABELLED:
        label = np.array(Image.open(labels / f'labels/{name}.png')).astype(int)
        mask = np.array(Image.open(voc_root / f'SegmentationClass/{name}.png'))
        radius = tolerance * math.sqrt(label.shape[0] ** 2 + label.shape[1] ** 2)
        for index, known in scores.items():
            score = f_by_distances(label, mask.astype(int), index, radius)
            if score is not None:
                known.append(score)
        for place in np.ndindex(mask.shape):
            if mask[place] != 255:
                counts[min(label[place], 21), mask[place]] += 1
    shares = {}
    for index, known in scores.items():
        hit, drawn = counts[index, index], counts[index].sum()
        true, decided = counts[:, index].sum(), counts[:21, index].sum()
        if drawn + true:
            shares[CLASSES[index]] = (
                100 * hit / (drawn + true - hit),
                100 * hit / (drawn + decided - hit),
                100 * sum(known) / len(known),
                100 * counts[21, index] / true,
            )
    return shares


@pytest.mark.parametrize('tolerance', [0.0075, 0.02, 0.05])
def test_figures(quality, voc_root, labels, tolerance):
    arguments = [] if tolerance == 0.0075 else ['--tolerance', str(tolerance)]
    out, figures = quality(*arguments)
    expected = expected_figures(voc_root, labels, tolerance)
    names = ('IoU', 'IoU_decided', 'boundary_F', 'undecided')
    for position, key in enumerate(names):
        found = figures[f'{key}_classwise']
        for name in CLASSES:
            value = expected[name][position] if name in expected else None
            assert found[name] == (value and pytest.approx(value, abs=0.006)), name
    for key, position in (('mIoU', 0), ('mIoU_decided', 1), ('boundary_F', 2)):
        mean = np.mean([row[position] for row in expected.values()])
        assert figures[key] == pytest.approx(mean, abs=0.006)
    assert figures['tolerance'] == tolerance
    assert (figures['images'], figures['of']) == (3, 8)
    head, *rows = out.splitlines()
    assert head == f'{labels}: 3 of 8 images of train, extra supervision: saliency'
    cells = [row.strip('| ').split('|') for row in rows if row.startswith('|')]
    cells = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in cells}
    assert cells['class'] == ['IoU', 'IoU decided', 'boundary F', 'undecided']
    assert cells['cat'] == ['-'] * 4
    found = [float(cell) for cell in cells['background']]
    assert found == pytest.approx(expected['background'], abs=0.006)
    keys = ('mIoU', 'mIoU_decided', 'boundary_F', 'undecided')
    assert [float(cell) for cell in cells['all']] == [figures[key] for key in keys]


def test_wider_tolerance_forgives_more(quality):
    found = [quality('--tolerance', t)[1]['boundary_F'] for t in ('0', '0.02', '0.1')]
    assert found[0] < found[1] < found[2] <= 100


def test_masks_as_labels_are_perfect(quality, voc_root, labels):
    for name in LABELLED:
        mask = (voc_root / f'SegmentationClass/{name}.png').read_bytes()
        (labels / f'labels/{name}.png').write_bytes(mask)
    figures = quality('--tolerance', '0')[1]
    assert (figures['mIoU'], figures['boundary_F']) == (100, 100)


def test_what_cannot_be_measured(quality, labels):
    assert '--tolerance: expected 0..1, got 2.0' in quality('--tolerance', '2')
    (labels / 'labels.json').unlink()
    assert 'no manifest' in quality()


def test_memory_does_not_grow_with_the_images(monkeypatch):
    monkeypatch.syspath_prepend(PATH.parent)
    tool = importlib.import_module('pseudo_label_quality')

    def peak(images):
        totals = tool.BoundaryTotals(3, 0.02)

        def stream():
            for index in range(images):
                plane = np.full((120, 160), index % 3, np.uint8)
                plane[20:60] = 1
                yield str(index), plane, plane.copy()

        tracemalloc.start()
        assert sum(1 for _ in totals.watch(stream())) == images
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(2)
    assert peak(40) < 1.2 * peak(6)
