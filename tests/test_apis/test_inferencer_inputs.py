"""Images given to the inferencer: in which forms, with what said of each."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmwsss.apis.inferencer_inputs import (
    InputImage,
    LoadedImage,
    batches_of_one_size,
    gather_images,
)
from mmwsss.utils.errors import ConfigError, DataError

IMAGE = np.zeros((8, 8, 3), np.uint8)


def test_folder_gives_images_of_subfolders_sorted(tmp_path):
    for name in ('b/x.jpg', 'a/y.JPG', 'a/note.txt', 'z.jpg', '.hidden.jpg'):
        path = tmp_path / 'own' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(IMAGE).save(path, 'JPEG')
    found = gather_images(tmp_path / 'own')
    assert [image.name for image in found] == ['a/y', 'b/x', 'z']
    assert [Path(image.path).name for image in found] == ['y.JPG', 'x.jpg', 'z.jpg']


def test_images_of_other_sizes_do_not_share_a_batch():
    def loaded(side, index):
        data = dict(inputs=torch.zeros(3, side, side))
        return LoadedImage(InputImage(str(index)), None, data)

    images = [loaded(side, i) for i, side in enumerate((4, 4, 4, 8, 4))]
    batches = batches_of_one_size(images, 2)
    names = [[image.source.name for image in batch] for batch in batches]
    assert names == [['0', '1'], ['2'], ['3'], ['4']]


@pytest.mark.parametrize(
    ('inputs', 'message'),
    [
        ('missing.jpg', 'no image or folder at missing.jpg; check the path'),
        ('x' * 300, 'no image or folder at xxx'),
        ('file://host/a.jpg', r'is on another machine \(host\)'),
        ([], 'no image was given'),
        (7, 'image 0: expected a path, a folder, .* got int'),
        (IMAGE[..., 0], r'image 0: .* got \(8, 8\) uint8'),
        ([IMAGE, IMAGE.astype(float)], r'image 1: .* got \(8, 8, 3\) float64'),
        (IMAGE[:0], r'got \(0, 8, 3\) uint8'),
    ],
)
def test_inputs_that_are_no_images(inputs, message):
    with pytest.raises(DataError, match=message):
        gather_images(inputs)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(tags=[]), 'tags: expected one entry an image, 2 in all, got 0'),
        (dict(tags=[['a']]), 'tags: expected one entry an image, 2 in all, got 1'),
        (dict(tags=[['a'], []]), r'tags: expected names of classes, got \[\]'),
        (dict(tags=[['a'], [3]]), r'tags: expected names of classes, got \[3\]'),
        (dict(point=[(1, 2)]), 'point: expected one entry an image, 2 in all, got 1'),
        (dict(point=[(1, 2, 3), None]), r'point: expected a column and a row'),
        (dict(point=('a', 1)), 'point: expected'),
    ],
)
def test_tags_and_points_that_do_not_fit(settings, message):
    with pytest.raises(ConfigError, match=message):
        gather_images([IMAGE, IMAGE], **settings)


def test_entries_for_each_image():
    images = gather_images(
        [IMAGE] * 3, tags=['a', ['b', 'c'], None], point=[None, (1, 2), (3, 4.5)]
    )
    assert [image.tags for image in images] == [('a',), ('b', 'c'), None]
    assert [image.point for image in images] == [None, (1, 2), (3, 4.5)]
