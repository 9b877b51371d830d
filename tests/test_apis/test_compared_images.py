"""Images of a comparison: where they, their tags and their masks come from."""

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from pseudo_label_run import write_config

from mmwsss.apis.compared_images import (
    ComparedImage,
    evenly,
    images_of_data_set,
    images_of_files,
    named_images,
)
from mmwsss.datasets import VOCTagDataset
from mmwsss.utils.errors import ConfigError, DataError

CLASSES = VOCTagDataset.METAINFO['classes']
NAME = '2007_000001'


@pytest.fixture
def config(tmp_path, voc_root, monkeypatch):
    # every data set that is built would collect for a quarter of a second
    monkeypatch.setattr('mmengine.dataset.base_dataset.gc.collect', lambda: 0)
    return Config.fromfile(write_config(tmp_path, voc_root))


def test_data_set_gives_images_tags_and_masks(config, voc_root):
    listed = images_of_data_set(config, 'train', CLASSES)
    masked = images_of_data_set(config, 'test', CLASSES)
    assert [image.name for image in listed] == [image.name for image in masked]
    assert len(listed) == 8
    assert listed[0].path == masked[0].path == str(voc_root / f'JPEGImages/{NAME}.jpg')
    assert listed[0].mask(CLASSES) is None
    # the list's, and the mask's, which says the same
    assert listed[0].tags == listed[0].own_tags(CLASSES) == ('aeroplane', 'person')
    assert masked[0].tags is None
    assert masked[0].own_tags(CLASSES) == ('aeroplane', 'person')
    with Image.open(voc_root / f'SegmentationClass/{NAME}.png') as mask:
        np.testing.assert_array_equal(masked[0].mask(CLASSES, size=(40, 60)), mask)


def test_config_without_such_a_data_set(config):
    assert images_of_data_set(config, 'val', CLASSES) is None
    config.test_dataloader.dataset.type = 'mmseg.BaseSegDataset'
    assert images_of_data_set(config, 'test', CLASSES) is None


def test_data_set_of_other_classes(config):
    message = r'the data set of test_dataloader has 21 classes, the first method 2 \('
    with pytest.raises(ConfigError, match=message):
        images_of_data_set(config, 'test', ('background', 'person'))
    turned = (*CLASSES[:-2], *CLASSES[:-3:-1])
    with pytest.raises(ConfigError, match=r'21 \(their order differs\): compare'):
        images_of_data_set(config, 'test', turned)


def test_own_files_with_and_without_masks(voc_root, tmp_path):
    folder = voc_root / 'JPEGImages'
    (voc_root / 'SegmentationClass/2007_000002.png').unlink()
    found = images_of_files([folder], voc_root / 'SegmentationClass')
    assert len(found) == 12
    assert [image.mask_path is None for image in found[:3]] == [False, True, False]
    assert found[0].own_tags(CLASSES) == ('aeroplane', 'person')
    assert found[1].own_tags(CLASSES) is None
    assert images_of_files([folder / f'{NAME}.jpg'])[0].mask_path is None


def test_files_that_cannot_be_shown(voc_root, tmp_path):
    image = voc_root / f'JPEGImages/{NAME}.jpg'
    with pytest.raises(DataError, match='no image or folder at gone.jpg'):
        images_of_files(['gone.jpg'])
    with pytest.raises(DataError, match='no folder of masks at gone; check'):
        images_of_files([image], 'gone')
    with pytest.raises(DataError, match=f'has no mask of these images, as {NAME}.png'):
        images_of_files([image], tmp_path)
    with pytest.raises(DataError, match=f'are both called {NAME}: give the folder'):
        images_of_files([image, image])


def test_masks_that_do_not_fit(voc_root):
    path = voc_root / f'JPEGImages/{NAME}.jpg'
    (image,) = images_of_files([path], voc_root / 'SegmentationClass')
    with pytest.raises(DataError, match=r'holds 15; expected 0..9 or 255: name the'):
        image.mask(CLASSES[:10])
    with pytest.raises(DataError, match='is 60x40, its image .* is 30x40'):
        image.mask(CLASSES, size=(40, 30))


def test_choice_of_images():
    images = [ComparedImage(name, name) for name in 'abcdefghi']
    assert [image.name for image in evenly(images, 3)] == ['a', 'e', 'i']
    assert evenly(images, 99) == images
    assert [i.name for i in evenly(images, 1)] == ['a']
    assert named_images(images, ['c', 'a']) == [images[2], images[0]]
    assert named_images(images, []) == []
    with pytest.raises(ConfigError, match="no image 'z'; there are 9, as a, b, c"):
        named_images(images, ['a', 'z'])
    with pytest.raises(ConfigError, match='at least one image, asked for 0'):
        evenly(images, 0)
