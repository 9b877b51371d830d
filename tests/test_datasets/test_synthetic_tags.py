"""The embedded data set as configs read it."""

import pytest
from mmengine.config import Config

from mmwsss.apis.pipeline import REPOSITORY
from mmwsss.datasets.synthetic import (
    SYNTHETIC_METAINFO,
    SyntheticSettings,
    draw_scene,
    write_synthetic,
)
from mmwsss.datasets.synthetic_tags import SyntheticTagDataset
from mmwsss.registry import DATASETS
from mmwsss.utils.errors import DataError
from mmwsss.utils.randomness import CountedIndex

LISTS = 'ImageSets/Segmentation'
SETTINGS = SyntheticSettings(seed=2, train=7, val=3, test=2, size=32)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('synthetic')
    write_synthetic(root, SETTINGS)
    return root


def read(root, split='train', **changes):
    settings = dict(
        data_root=str(root),
        ann_file=f'{LISTS}/{split}.txt',
        tag_file=f'{LISTS}/{split}_tags.txt',
        data_prefix=dict(img_path='JPEGImages'),
    )
    return SyntheticTagDataset(**{**settings, **changes})


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_tags_are_those_of_the_scenes(root, split):
    dataset = read(root, split)
    assert len(dataset) == SETTINGS.count(split)
    names = SYNTHETIC_METAINFO['classes'][1:]
    for index in range(len(dataset)):
        record = dataset.get_data_info(index)
        scene = draw_scene(SETTINGS.seed, split, index, SETTINGS.size)
        assert record['img_path'] == f'{root}/JPEGImages/{split}_{index:05d}.jpg'
        assert [names[tag] for tag in record['gt_label']] == list(scene.tags)


def test_classes_and_colours_are_the_generators(root):
    metainfo = read(root).metainfo
    assert metainfo['classes'] == SYNTHETIC_METAINFO['classes']
    assert metainfo['palette'] == SYNTHETIC_METAINFO['palette']


def test_a_missing_tag_list_names_the_command(root):
    with pytest.raises(DataError, match=f'synthetic.py {root}$'):
        read(root, tag_file='absent.txt')


def test_masks_are_needed_only_where_asked_for(root):
    assert 'seg_map_path' not in read(root).get_data_info(0)
    prefix = dict(img_path='JPEGImages', seg_map_path='NoSuchFolder')
    with pytest.raises(DataError, match='NoSuchFolder does not exist; .*seg_map_path'):
        read(root, data_prefix=prefix)


@pytest.mark.parametrize('loader', ['train', 'seed', 'val', 'test'])
def test_the_embedded_config_reads_it(root, loader):
    config = Config.fromfile(REPOSITORY / 'configs/acr/hybrid_embedded.py')
    settings = config[f'{loader}_dataloader'].dataset
    settings.data_root = str(root)
    dataset = DATASETS.build(dict(settings, _scope_='mmwsss'))
    item = dataset[CountedIndex(0, seed=0, epoch=0)]
    sample = item['data_samples']
    assert item['inputs'].shape[0] == 3
    assert len(sample.gt_label) > 0
    assert ('gt_sem_seg' in sample) == (loader in ('val', 'test'))
