import logging
import shutil

import pytest
from mmengine.logging import MMLogger
from mmseg.datasets import PascalVOCDataset

from mmwsss.datasets import TagDataset, VOCTagDataset, read_tag_list
from mmwsss.registry import DATASETS
from mmwsss.utils.errors import ConfigError, DataError

SPLITS = 'ImageSets/Segmentation'
# Indices of the tags in tests/conftest.py, written out.
TRAIN_TAGS = [[0, 14], [7], [8, 11], [19], [6], [14], [4, 10], [2]]


def voc(root, **changes):
    settings = dict(
        data_root=str(root),
        ann_file=f'{SPLITS}/train.txt',
        tag_file=f'{SPLITS}/train_tags.txt',
        data_prefix=dict(img_path='JPEGImages'),
    )
    return VOCTagDataset(**{**settings, **changes})


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_records_carry_the_tags(voc_root):
    dataset = voc(voc_root)
    records = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [record['gt_label'] for record in records] == TRAIN_TAGS
    assert records[0]['img_path'] == f'{voc_root}/JPEGImages/2007_000001.jpg'
    assert all('seg_map_path' not in record for record in records)


def test_metainfo_is_mmsegs(voc_root):
    assert VOCTagDataset.METAINFO is PascalVOCDataset.METAINFO
    assert voc(voc_root).metainfo['palette'] == PascalVOCDataset.METAINFO['palette']


def test_registered(voc_root):
    config = dict(
        type='mmwsss.VOCTagDataset',
        data_root=str(voc_root),
        ann_file=f'{SPLITS}/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
    )
    dataset = DATASETS.build(config)
    assert len(dataset) == 4
    record = dataset.get_data_info(0)
    assert 'gt_label' not in record
    assert record['seg_map_path'].endswith('SegmentationClass/2008_000001.png')


def test_fewer_classes_drop_the_others_tags(voc_root):
    classes = ('background', 'person', 'cat')
    dataset = voc(voc_root, metainfo=dict(classes=classes), empty_tags='drop')
    labels = [dataset.get_data_info(i)['gt_label'] for i in range(len(dataset))]
    assert labels == [[0], [1], [0]]


def test_own_images_without_a_split(voc_root, tmp_path):
    shutil.move(voc_root / 'JPEGImages', tmp_path / 'own/deep')
    tags = tmp_path / 'own/tags.txt'
    images = sorted(path.stem for path in (tmp_path / 'own/deep').glob('*.jpg'))
    tags.write_text(''.join(f'deep/{name} red_fox\n' for name in images))
    dataset = TagDataset(
        data_root=str(tmp_path / 'own'),
        data_prefix=dict(img_path=''),
        tag_file='tags.txt',
        metainfo=dict(classes=('background', 'wolf', 'red fox')),
    )
    assert len(dataset) == 12
    assert dataset.get_data_info(11)['gt_label'] == [1]


@pytest.mark.parametrize(
    ('removed', 'key'),
    [
        ('', 'dataset.data_root'),
        (f'{SPLITS}/train.txt', 'dataset.ann_file'),
        ('JPEGImages', 'dataset.data_prefix.img_path'),
        ('SegmentationClass', 'dataset.data_prefix.seg_map_path'),
    ],
)
@pytest.mark.parametrize('lazy_init', [False, True])
def test_missing_path_names_the_config_key(voc_root, removed, key, lazy_init):
    path = voc_root / removed if removed else voc_root
    path.rename(f'{path}.away')
    prefix = dict(img_path='JPEGImages', seg_map_path='SegmentationClass')
    with pytest.raises(DataError) as caught:
        voc(voc_root, data_prefix=prefix, lazy_init=lazy_init)
    assert str(caught.value) == f'{path} does not exist; set {key} in the config'


def test_missing_tag_file_names_the_command(voc_root):
    with pytest.raises(DataError) as caught:
        voc(voc_root, tag_file='none.txt')
    message = str(caught.value)
    assert f'{voc_root}/none.txt does not exist' in message
    assert f'voc_tags.py {voc_root} --split train' in message


def test_missing_tag_file_of_own_images(voc_root):
    with pytest.raises(DataError, match='set dataset.tag_file in the config$'):
        TagDataset(
            data_root=str(voc_root),
            data_prefix=dict(img_path='JPEGImages'),
            tag_file='none.txt',
        )


def test_image_without_a_line(voc_root):
    edit(voc_root / SPLITS / 'train_tags.txt', '2007_000002 cat\n', '')
    with pytest.raises(DataError, match=r'has no line for 2007_000002, which .*train'):
        voc(voc_root)


def test_unknown_class(voc_root):
    edit(voc_root / SPLITS / 'train_tags.txt', 'cat', 'catt')
    with pytest.raises(DataError, match=r"line 2: unknown class 'catt'.*are cat"):
        voc(voc_root)


def test_image_without_tags_is_refused(voc_root):
    edit(voc_root / SPLITS / 'train_tags.txt', '2007_000002 cat', '2007_000002 []')
    with pytest.raises(DataError, match=r'1 of 8 images have no tags \(2007_000002\)'):
        voc(voc_root)


def test_image_without_tags_is_dropped_and_logged(voc_root, caplog):
    edit(voc_root / SPLITS / 'train_tags.txt', '2007_000002 cat', '2007_000002 []')
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.WARNING):
            dataset = voc(voc_root, empty_tags='drop')
    finally:
        logger.removeHandler(caplog.handler)
    labels = [dataset.get_data_info(i)['gt_label'] for i in range(len(dataset))]
    assert labels == [TRAIN_TAGS[0], *TRAIN_TAGS[2:]]
    assert 'left out 1 of 8 images without tags' in caplog.text


def test_dropping_everything_is_refused(voc_root):
    tags = voc_root / SPLITS / 'train_tags.txt'
    tags.write_text(''.join(f'{n.split()[0]}\n' for n in tags.read_text().splitlines()))
    with pytest.raises(DataError, match='8 of 8 images have no tags'):
        voc(voc_root, empty_tags='drop')


def test_empty_split(voc_root):
    (voc_root / SPLITS / 'train.txt').write_text('')
    with pytest.raises(DataError, match=r'train\.txt lists no image'):
        voc(voc_root)


@pytest.mark.parametrize('kind', [VOCTagDataset, TagDataset])
@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('ü'.encode('latin-1'), r'train\.txt is not in UTF-8'),
        (b'2007_000002\n2007_000002\n', r'train\.txt lists 2007_000002 twice'),
    ],
)
def test_bad_list_of_images(voc_root, kind, content, message):
    (voc_root / SPLITS / 'train.txt').write_bytes(content)
    with pytest.raises(DataError, match=message):
        kind(
            f'{SPLITS}/train.txt',
            data_root=str(voc_root),
            data_prefix=dict(img_path='JPEGImages'),
        )


def test_list_with_a_byte_order_mark(voc_root):
    (voc_root / SPLITS / 'train.txt').write_bytes('\ufeff2007_000002\n'.encode())
    assert len(voc(voc_root)) == 1
    with pytest.raises(DataError, match='starts with a byte order mark; save it as'):
        TagDataset(
            f'{SPLITS}/train.txt',
            data_root=str(voc_root),
            data_prefix=dict(img_path='JPEGImages'),
        )


def test_unknown_way_with_empty_tags(voc_root):
    with pytest.raises(ConfigError, match="empty_tags: expected .* got 'keep'"):
        voc(voc_root, empty_tags='keep')


def test_no_image_folder(voc_root):
    with pytest.raises(ConfigError, match='data_prefix needs img_path'):
        voc(voc_root, data_prefix=dict(seg_map_path='SegmentationClass'))


def test_mistyped_key(voc_root):
    with pytest.raises(TypeError, match='tag_fle'):
        voc(voc_root, tag_fle='x')


@pytest.mark.photographs
def test_list_of_10582_images(photographs):
    root = photographs / 'VOCdevkit/VOC2012'
    lists = photographs / 'lists'
    dataset = voc(
        root,
        ann_file=str(lists / 'train_aug.txt'),
        tag_file=str(lists / 'train_aug_labels.txt'),
    )
    assert len(dataset) == 10582
    classes = dataset.metainfo['classes'][1:]
    tags = read_tag_list(lists / 'train_aug_labels.txt', classes)
    persons = sum(classes.index('person') in labels for labels in tags.values())
    assert persons == 3898
