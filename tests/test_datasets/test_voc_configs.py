from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

import mmwsss  # noqa: F401
from mmwsss.registry import DATASETS, TRANSFORMS
from mmwsss.structures import WSSSDataSample

CONFIGS = Path(__file__).parents[2] / 'configs/_base_/datasets'
SIZES = dict(voc_aug_384=384, voc_aug_384_standard=384, voc_aug_224=224)


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmwsss'):
        yield


def load(name, voc_root):
    config = Config.fromfile(CONFIGS / f'{name}.py')
    splits = 'ImageSets/Segmentation'
    config.merge_from_dict(
        {
            f'{loader}_dataloader.{key}': value
            for loader in ('train', 'val', 'test')
            for key, value in {
                'dataset.data_root': str(voc_root),
                'num_workers': 0,
                'persistent_workers': False,
            }.items()
        }
    )
    config.train_dataloader.dataset.ann_file = f'{splits}/train.txt'
    config.train_dataloader.dataset.tag_file = f'{splits}/train_tags.txt'
    return config


def loader(config, workers):
    config = config.copy()
    config.num_workers = workers
    return Runner.build_dataloader(config, seed=5)


def epoch_of(dataloader, epoch):
    dataloader.sampler.set_epoch(epoch)
    images = {}
    for batch in dataloader:
        for image, sample in zip(batch['inputs'], batch['data_samples']):
            images[sample.sample_idx] = image
    return images


@pytest.mark.parametrize('name', SIZES)
def test_training_samples(voc_root, name):
    dataloader = loader(load(name, voc_root).train_dataloader, 0)
    batch = next(iter(dataloader))
    assert len(batch['inputs']) == 4
    for image, sample in zip(batch['inputs'], batch['data_samples']):
        assert image.shape == (3, SIZES[name], SIZES[name])
        assert image.dtype == torch.uint8
        assert (
            sample.gt_label.tolist()
            == dataloader.dataset.get_data_info(sample.sample_idx)['gt_label']
        )
        assert 'gt_sem_seg' not in sample


@pytest.mark.parametrize('name', ['voc_aug_384_standard', 'voc_aug_224'])
def test_draws_do_not_depend_on_workers_but_on_the_epoch(voc_root, name):
    config = load(name, voc_root).train_dataloader
    alone, shared = (epoch_of(loader(config, n), 0) for n in (0, 2))
    later = epoch_of(loader(config, 0), 1)
    assert sorted(alone) == sorted(shared) == list(range(8))
    assert all(torch.equal(alone[i], shared[i]) for i in alone)
    assert not all(torch.equal(alone[i], later[i]) for i in alone)


@pytest.mark.parametrize('name', SIZES)
@pytest.mark.parametrize(('split', 'count'), [('val', 4), ('test', 8)])
def test_ground_truth_keeps_the_photographs_size(voc_root, name, split, count):
    dataset = DATASETS.build(load(name, voc_root)[f'{split}_dataloader'].dataset)
    assert len(dataset) == count
    for packed in dataset:
        sample = packed['data_samples']
        assert packed['inputs'].shape == (3, SIZES[name], SIZES[name])
        assert sample.img_shape == (SIZES[name], SIZES[name])
        assert sample.gt_sem_seg.shape == sample.ori_shape != sample.img_shape
        labels = sample.gt_sem_seg.data.unique().tolist()
        assert [c + 1 for c in sample.gt_label] == [v for v in labels if 0 < v < 255]


def test_long_side_is_drawn_in_the_releases_range():
    config = Config.fromfile(CONFIGS / 'voc_aug_384.py')
    resize = TRANSFORMS.build(config.train_pipeline[2])
    image = np.zeros((333, 500, 3), np.uint8)
    np.random.seed(0)
    sides = [max(resize(dict(img=image))['img'].shape) for _ in range(300)]
    assert 345 <= min(sides) < 350
    assert 433 < max(sides) <= 439


def test_multi_label_metrics_read_our_samples():
    config = Config.fromfile(CONFIGS / 'voc_aug_384.py')
    metrics = [m for m in config.val_evaluator if m.type.startswith('mmpretrain.')]
    evaluator = Evaluator(metrics)
    scores = torch.tensor([[0.9, 0.2, 0.1], [0.8, 0.7, 0.3], [0.1, 0.6, 0.4]])
    samples = [
        WSSSDataSample().set_gt_label(tags).set_pred_score(score)
        for tags, score in zip([[0], [1], [1, 2]], scores)
    ]
    evaluator.process(samples)
    found = evaluator.evaluate(3)
    # Class 0: tp 1, fp 1; class 1: tp 2; class 2: fn 1. AP: 1, 1, 1, in percent.
    expected_f1 = [200 / 3, 100.0, 0.0]
    assert found['multi-label/f1-score_classwise'] == pytest.approx(expected_f1)
    assert found['multi-label/f1-score'] == pytest.approx(sum(expected_f1) / 3)
    assert found['multi-label/AP_classwise'] == pytest.approx([100.0, 100.0, 100.0])
    assert found['multi-label/mAP'] == pytest.approx(100.0)


def test_absent_tags_are_all_zero_targets():
    evaluator = Evaluator(dict(type='mmpretrain.MultiLabelMetric', thr=0.5))
    sample = WSSSDataSample().set_gt_label([]).set_pred_score(torch.ones(2))
    evaluator.process([sample])
    assert evaluator.evaluate(1)['multi-label/precision'] == 0
