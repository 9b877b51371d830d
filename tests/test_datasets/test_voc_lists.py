"""The layouts of VOC's augmented set, and what the data set says of its list."""

import logging

import pytest
from mmengine.logging import MMLogger

from mmwsss.datasets import VOCTagDataset
from mmwsss.datasets.voc import PUBLIC_LISTS, read_voc_list, spelled_list
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


@pytest.mark.parametrize('split', ['train', 'trainaug'])
def test_a_root_from_the_working_directory(augmented, split, monkeypatch):
    monkeypatch.chdir(augmented.parent)
    dataset = build(augmented.name, ann_file=f'{SPLITS}/{split}.txt')
    path = dataset.get_data_info(0)['img_path']
    assert path == f'{augmented.name}/JPEGImages/2007_000001.jpg'


def test_an_image_listed_twice(augmented):
    path = augmented / SPLITS / 'train_aug.txt'
    path.write_text('a\nb\n/JPEGImages/a.jpg /x.png\n')
    with pytest.raises(DataError, match='lists a twice'):
        read_voc_list(str(path))


def test_says_whether_the_list_is_the_public_one(augmented, caplog):
    logged(caplog, lambda: build(augmented))
    expected = (
        'PASCAL VOC 2012 train_aug: 3 images, not the 10,582 of the public list, no '
        f'tags, masks of {augmented}/SegmentationClassAug'
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
    expected = 'PASCAL VOC 2012 few: 1 images, no tags, no masks'
    assert expected in caplog.messages


def test_the_seed_protocol_is_stated(augmented, caplog, monkeypatch):
    """As if the public lists were as short as these."""
    sizes = {'train': 8, 'train_aug': 3, 'val': 4}
    lists = {k: (n, PUBLIC_LISTS[k][1]) for k, n in sizes.items()}
    monkeypatch.setattr(VOCTagDataset, 'public_lists', lists)
    (augmented / 'tags.txt').write_text(
        '2007_000001 cat\n2007_000002 cat\n2007_000003 cat\n'
    )
    images = dict(img_path='JPEGImages')
    logged(caplog, lambda: build(augmented, tag_file='tags.txt', data_prefix=images))
    assert caplog.messages == [
        'PASCAL VOC 2012 train_aug: 3 images (the public list; the seed protocol '
        f'trains on it), tags of {augmented}/tags.txt, no masks'
    ]
    caplog.clear()
    masks = dict(img_path='JPEGImages', seg_map_path='SegmentationClass')
    measured = dict(
        ann_file=f'{SPLITS}/train.txt',
        data_prefix=masks,
        pipeline=[dict(type='mmwsss.TagsFromMask')],
        lazy_init=True,
    )
    dataset = logged(caplog, lambda: build(augmented, **measured))
    assert caplog.messages == []
    logged(caplog, lambda: [dataset.full_init(), dataset.full_init()])
    assert caplog.messages == [
        'PASCAL VOC 2012 train: 8 images (the public list; the seed protocol measures '
        f'seeds on it), tags of the masks, masks of {augmented}/SegmentationClass'
    ]


def test_public_sizes():
    sizes = {name: size for name, (size, _) in PUBLIC_LISTS.items()}
    aug = dict(train_aug=10582, trainaug=10582)
    assert sizes == dict(train=1464, val=1449, trainval=2913, **aug)


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
    assert any(
        m.startswith('PASCAL VOC 2012 train_aug: 10,582 images (the public list')
        for m in caplog.messages
    )
