"""Fixtures shared by all tests."""

import copy
import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer
from PIL import Image

# name: (width, height, label: box as left, top, right, bottom)
VOC_IMAGES = {
    '2007_000001': (60, 40, {1: (5, 5, 25, 30), 15: (30, 10, 50, 35)}),
    '2007_000002': (40, 60, {8: (5, 10, 35, 50)}),
    '2007_000003': (64, 48, {12: (10, 10, 40, 40), 9: (45, 5, 60, 40)}),
    '2007_000004': (50, 44, {20: (5, 5, 45, 40)}),
    '2007_000005': (72, 40, {7: (8, 8, 60, 32)}),
    '2007_000006': (44, 72, {15: (4, 4, 40, 60)}),
    '2007_000007': (56, 42, {5: (6, 6, 20, 36), 11: (24, 6, 50, 36)}),
    '2007_000008': (66, 54, {3: (10, 20, 50, 50)}),
    '2008_000001': (58, 46, {19: (6, 6, 52, 40)}),
    '2008_000002': (46, 58, {2: (6, 6, 40, 30), 15: (6, 32, 40, 54)}),
    '2008_000003': (70, 50, {10: (8, 8, 60, 44)}),
    '2008_000004': (48, 40, {16: (5, 5, 30, 35), 18: (32, 5, 45, 35)}),
}
VOC_TAGS = {
    '2007_000001': 'aeroplane person',
    '2007_000002': 'cat',
    '2007_000003': 'chair dog',
    '2007_000004': 'tvmonitor',
    '2007_000005': 'car',
    '2007_000006': 'person',
    '2007_000007': 'bottle diningtable',
    '2007_000008': 'bird',
    '2008_000001': 'train',
    '2008_000002': 'bicycle person',
    '2008_000003': 'cow',
    '2008_000004': 'pottedplant sofa',
}
VOC_SPLITS = {'train': list(VOC_IMAGES)[:8], 'val': list(VOC_IMAGES)[8:]}


def voc_palette():
    """Return VOC's 256 colours as a flat list: the label's bits, spread out."""
    colours = np.zeros((256, 3), int)
    for bit in range(8):
        for channel in range(3):
            source = np.arange(256) >> (3 * bit + channel) & 1
            colours[:, channel] |= source << (7 - bit)
    return colours.ravel().tolist()


def write_voc_image(root, name, width, height, boxes):
    mask = np.zeros((height, width), np.uint8)
    image = np.full((height, width, 3), 90, np.uint8)
    image[..., 0] = np.linspace(40, 200, width, dtype=np.uint8)
    palette = np.array(voc_palette()).reshape(-1, 3)
    for label, (left, top, right, bottom) in boxes.items():
        mask[top - 1 : bottom + 1, left - 1 : right + 1] = 255
        mask[top:bottom, left:right] = label
        image[top:bottom, left:right] = palette[label]
    Image.fromarray(image).save(root / f'JPEGImages/{name}.jpg', quality=90)
    png = Image.fromarray(mask)
    png.putpalette(voc_palette())
    png.save(root / f'SegmentationClass/{name}.png')


@pytest.fixture
def voc_root(tmp_path):
    """A small VOC tree: 8 images in train, 4 in val, masks and tag lists."""
    root = tmp_path / 'VOC2012'
    lists = root / 'ImageSets/Segmentation'
    for folder in (root / 'JPEGImages', root / 'SegmentationClass', lists):
        folder.mkdir(parents=True)
    for name, (width, height, boxes) in VOC_IMAGES.items():
        write_voc_image(root, name, width, height, boxes)
    for split, names in VOC_SPLITS.items():
        (lists / f'{split}.txt').write_text(''.join(f'{n}\n' for n in names))
        lines = ''.join(f'{n} {VOC_TAGS[n]}\n' for n in names)
        (lists / f'{split}_tags.txt').write_text(lines)
    return root


@pytest.fixture
def at_iteration():
    """Let losses believe that a training of so many iterations is at one of them."""
    hub = MessageHub.get_current_instance()
    yield lambda iteration, of: hub.update_info_dict(dict(iter=iteration, max_iters=of))
    hub.update_info_dict(dict(iter=0, max_iters=0))


@pytest.fixture(scope='session')
def photographs():
    """The folder ``../shared/data`` with real photographs, or a visible skip."""
    default = Path(__file__).parents[2] / 'shared/data'
    folder = Path(os.environ.get('MMWSSS_PHOTOGRAPHS', default))
    if not folder.is_dir():
        pytest.skip(f'no photographs in {folder}')
    return folder


# Made here, the logger writes where no test's capture closes the stream behind it.
MMLogger.get_current_instance()


@pytest.fixture(scope='session')
def finished_work(tmp_path_factory):
    """Where the first case of bad input leaves finished work for all."""
    return tmp_path_factory.mktemp('finished_work')


@pytest.fixture
def place(tmp_path, voc_root, finished_work, monkeypatch, capfd):
    """Finished work beside input that is bad."""
    # its imports take long, and few tests need them
    from bad_input_place import place_with_work

    yield from place_with_work(tmp_path, voc_root, finished_work, monkeypatch, capfd)


def managers():
    """Return the classes that keep instances by name for the whole process."""
    return [DefaultScope, MMLogger, Visualizer, *Visualizer.__subclasses__()]


@contextmanager
def instances_kept():
    """Give back scopes, visualizers and loggers, with their levels, as found."""
    kept = {kind: copy.copy(kind._instance_dict) for kind in managers()}
    levels = {logger: logger.level for logger in kept[MMLogger].values()}
    yield
    for kind in managers():
        empty = type(kind._instance_dict)()
        kind._instance_dict = kept.get(kind, empty)
    for logger, level in levels.items():
        logger.setLevel(level)


@pytest.fixture(autouse=True, scope='module')
def nothing_left_by_a_module():
    """Undo what fixtures of a whole module leave, which come before its tests'."""
    with instances_kept():
        yield


@pytest.fixture(autouse=True)
def nothing_left_by_a_test():
    """Undo what a test leaves."""
    with instances_kept():
        yield
