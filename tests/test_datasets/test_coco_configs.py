"""COCO-2014's configs on a small tree in COCO's layout."""

import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from mmwsss.datasets import COCOPseudoLabelDataset, COCOTagDataset
from mmwsss.registry import DATASETS
from mmwsss.utils.label_codec import LabelCodec

CONFIGS = Path(__file__).parents[2] / 'configs'
CLASSES = COCOTagDataset.METAINFO['classes']
CLASSIFIERS = ('acr/vit_hybrid_coco', 'rca/vgg16_coco', 'rca/resnet38_coco')
SEGMENTORS = sorted(
    f'segmentation/{path.stem}' for path in (CONFIGS / 'segmentation').glob('*_coco_*')
)
COUNTS = dict(train=3, val=2)


def names_of(split):
    return [f'COCO_{split}2014_{n:012}' for n in range(COUNTS[split])]


@pytest.fixture
def root(tmp_path):
    """Images, masks of three labels each, lists and tags of both splits."""
    codec = LabelCodec(COCOTagDataset.METAINFO['palette'])
    for split, count in COUNTS.items():
        for folder in (f'{split}2014', f'masks/{split}2014', 'lists'):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        lines = []
        for index, name in enumerate(names_of(split)):
            image = Image.new('RGB', (64, 48), (10 * index, 80, 90))
            image.save(tmp_path / f'{split}2014/{name}.jpg')
            mask = np.zeros((48, 64), np.uint8)
            mask[:9], mask[9:20], mask[20:30] = 1 + index, 80, 255
            path = tmp_path / f'masks/{split}2014/{name}.png'
            path.write_bytes(codec.encode(mask))
            lines.append(f'{name} {CLASSES[1 + index]} toothbrush\n')
        assert len(lines) == count
        (tmp_path / f'lists/{split}.txt').write_text('\n'.join(names_of(split)) + '\n')
        (tmp_path / f'lists/{split}_tags.txt').write_text(''.join(lines))
    labels = tmp_path / 'pseudo/labels'
    labels.mkdir(parents=True)
    for name in names_of('train')[:2]:
        (labels / f'{name}.png').write_bytes(codec.encode(mask))
    manifest = dict(
        classes=list(CLASSES),
        pixels_per_class=dict.fromkeys(CLASSES, 5),
        images=dict.fromkeys(names_of('train')[:2], '00'),
    )
    (tmp_path / 'pseudo/labels.json').write_text(json.dumps(manifest))
    return tmp_path


def build(config, root, loader):
    settings = config[f'{loader}_dataloader'].dataset
    settings.data_root = str(root)
    if 'label_root' in settings:
        settings.label_root = str(root / 'pseudo')
    with DefaultScope.overwrite_default_scope(config.default_scope):
        return DATASETS.build(settings)


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_classifiers_read_tags_and_masks(root, name):
    config = Config.fromfile(CONFIGS / f'{name}.py')
    assert config.model.num_classes == len(CLASSES) - 1
    for loader, count in dict(train=3, seed=3, val=2, test=3).items():
        dataset = build(config, root, loader)
        assert isinstance(dataset, COCOTagDataset) and len(dataset) == count
        if loader in ('train', 'seed'):
            assert dataset.get_data_info(1)['gt_label'] == [1, 79]
        masked = 'seg_map_path' in config[f'{loader}_dataloader'].dataset.data_prefix
        assert masked == (loader in ('val', 'test'))
        if masked:
            with DefaultScope.overwrite_default_scope(config.default_scope):
                sample = dataset[1]['data_samples']
            assert sample.gt_label.tolist() == [1, 79]
            assert sample.gt_sem_seg.data.unique().tolist() == [0, 2, 80, 255]


@pytest.mark.parametrize('name', SEGMENTORS)
def test_segmentors_read_labels_and_masks(root, name):
    config = Config.fromfile(CONFIGS / f'{name}.py')
    assert config.model.decode_head.num_classes == len(CLASSES)
    dataset = build(config, root, 'train')
    assert isinstance(dataset, COCOPseudoLabelDataset) and len(dataset) == 2
    for loader in ('val', 'test'):
        dataset = build(config, root, loader)
        assert len(dataset) == 2
        with DefaultScope.overwrite_default_scope('mmseg'):
            sample = dataset[0]['data_samples']
        assert sample.gt_sem_seg.data.unique().tolist() == [0, 1, 80, 255]


def test_settings():
    config = Config.fromfile(CONFIGS / 'acr/vit_hybrid_coco.py')
    (schedule,) = config.param_scheduler
    assert config.train_cfg.max_epochs == schedule.end == 5
    consistency = config.model.consistency
    assert (consistency.alpha, consistency.beta) == (100.0, 100.0)
    assert config.train_dataloader.batch_size == 1
    config = Config.fromfile(CONFIGS / 'segmentation/deeplabv2_r101_coco_acr.py')
    (schedule,) = config.param_scheduler
    assert config.train_cfg.max_iters == schedule.end == 100_000
    assert config.train_cfg.type == 'IterBasedTrainLoop'


@pytest.mark.parametrize('method', ['acr', 'rca'])
def test_chain_uses_its_own_labels(method):
    chain = Config.fromfile(CONFIGS / f'pipelines/{method}_coco.py')
    segmentor = Config.fromfile(CONFIGS.parent / chain.segmentor.config)
    labels = segmentor.train_dataloader.dataset.label_root
    assert labels == f'work_dirs/pseudo_labels/{method}_coco'
    assert method in chain.classifier.config
