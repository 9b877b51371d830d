"""The layouts of VOC's augmented set, and what the data set says of its list."""

import logging

import pytest
from mmengine.logging import MMLogger

from mmwsss.datasets import VOCTagDataset
from mmwsss.datasets.voc import read_voc_list, spelled_list
from mmwsss.utils.errors import DataError

SPLITS = 'ImageSets/Segmentation'


def build(root, **changes):
    settings = dict(
        data_root=str(root),
        ann_file=f'{SPLITS}/train_aug.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassAug'),
    )
    return VOCTagDataset(**{**settings, **changes})


def logged(caplog, call):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO):
            return call()
    finally:
        logger.removeHandler(caplog.handler)


@pytest.fixture
def augmented(voc_root):
    """Three images in the augmented list, two masks in the extra folder."""
    (voc_root / 'SegmentationClassAug').mkdir()
    for name in ('2007_000001', '2007_000002'):
        path = voc_root / f'SegmentationClass/{name}.png'
        path.rename(voc_root / f'SegmentationClassAug/{name}.png')
    (voc_root / SPLITS / 'train_aug.txt').write_text(
        '2007_000001\n2007_000002\n2007_000003\n'
    )
    return voc_root


def masks_of(dataset):
    paths = [dataset.get_data_info(i)['seg_map_path'] for i in range(len(dataset))]
    return [path.split('/')[-2:] for path in paths]


def test_a_mask_comes_from_the_folder_that_has_it(augmented):
    assert masks_of(build(augmented)) == [
        ['SegmentationClassAug', '2007_000001.png'],
        ['SegmentationClassAug', '2007_000002.png'],
        ['SegmentationClass', '2007_000003.png'],
    ]


def test_lists_of_pairs(augmented):
    names = ('2007_000002', '2007_000003')
    lines = [f'/JPEGImages/{n}.jpg /SegmentationClassAug/{n}.png\n' for n in names]
    (augmented / SPLITS / 'train_aug.txt').write_text(''.join(lines))
    assert [path[1] for path in masks_of(build(augmented))] == [
        '2007_000002.png',
        '2007_000003.png',
    ]


def test_the_other_spelling(augmented):
    (augmented / SPLITS / 'train_aug.txt').rename(augmented / SPLITS / 'trainaug.txt')
    assert len(build(augmented)) == 3
    path = str(augmented / SPLITS / 'train_aug.txt')
    assert spelled_list(path).endswith('/trainaug.txt')
    assert spelled_list(path.replace('train_aug', 'val')).endswith('/val.txt')


def test_an_image_listed_twice(augmented):
    path = augmented / SPLITS / 'train_aug.txt'
    path.write_text('a\nb\n/JPEGImages/a.jpg /x.png\n')
    with pytest.raises(DataError, match='lists a twice'):
        read_voc_list(str(path))


def test_says_whether_the_list_is_the_public_one(augmented, caplog):
    logged(caplog, lambda: build(augmented))
    expected = (
        'PASCAL VOC 2012 train_aug: 3 images, not the 10,582 of the public list, with '
        'masks'
    )
    assert expected in caplog.messages
    caplog.clear()
    path = augmented / SPLITS / 'few.txt'
    path.write_text('2007_000001\n')
    prefix = dict(img_path='JPEGImages')
    logged(
        caplog,
        lambda: build(augmented, ann_file=f'{SPLITS}/few.txt', data_prefix=prefix),
    )
    assert 'PASCAL VOC 2012 few: 1 images, with images alone' in caplog.messages


@pytest.mark.photographs
def test_public_training_list(photographs, caplog):
    lists = photographs / 'lists'
    root = photographs / 'VOCdevkit/VOC2012'
    logged(
        caplog,
        lambda: build(
            root,
            ann_file=str(lists / 'train_aug.txt'),
            tag_file=str(lists / 'train_aug_labels.txt'),
            data_prefix=dict(img_path='JPEGImages'),
        ),
    )
    assert 'PASCAL VOC 2012 train_aug: 10,582 images, with tags' in caplog.messages
