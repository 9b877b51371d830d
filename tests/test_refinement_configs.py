"""Configs of refinement networks: data, a step of each on a tiny network, settings."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from refiner_networks import WIDTHS

from mmwsss.registry import DATASETS, MODELS
from mmwsss.structures import WSSSDataSample

CONFIGS = Path(__file__).parents[1] / 'configs/refinement'
LEAVES = sorted(CONFIGS.glob('*.py'))
REDUCED = dict(
    PSANetwork=dict(in_channels=WIDTHS, channels=(3, 4), stride=4),
    IRNetwork=dict(
        in_channels=WIDTHS,
        strides=(2, 4),
        stride=4,
        boundary_channels=8,
        displacement_channels=(8, 8),
        fused_channels=8,
    ),
)
"""What a network on two levels, at strides of 2 and 4, has in place of its own."""
SIDE = 32

leaves = pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmwsss'):
        yield


def tiny(config):
    settings = config.model.to_dict()
    settings |= dict(backbone=dict(type='TwoLevels'), **REDUCED[settings['type']])
    if 'size' in settings['data_preprocessor']:
        settings['data_preprocessor']['size'] = (SIDE, SIDE)
    return MODELS.build(ConfigDict(settings))


def drawn_batch():
    """Two images and their labels: background, two classes and undecided pixels."""
    generator = torch.Generator().manual_seed(0)
    shape = (2, 3, SIDE, SIDE)
    images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    label = torch.zeros(1, SIDE, SIDE, dtype=torch.int64)
    label[:, 8:, :12], label[:, :20, 16:], label[:, :4] = 1, 2, 255
    samples = [WSSSDataSample(metainfo=dict(sample_idx=index)) for index in (0, 1)]
    for sample in samples:
        sample.gt_sem_seg = PixelData(data=label)
    return dict(inputs=list(images), data_samples=samples)


@leaves
def test_a_step_of_each_leaf(path):
    torch.manual_seed(0)
    config = Config.fromfile(path)
    model = tiny(config)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    before = {name: value.clone() for name, value in model.named_parameters()}
    losses = model.train().train_step(drawn_batch(), wrapper)
    assert all(torch.isfinite(value) for value in losses.values())
    moved = {n: w for n, w in model.named_parameters() if not torch.equal(w, before[n])}
    assert all(torch.isfinite(weight).all() for weight in moved.values())
    assert set(moved) == {n for n, w in model.named_parameters() if w.requires_grad}
    assert moved


@leaves
def test_training_ends_with_its_schedule_and_measures_nothing(path):
    config = Config.fromfile(path)
    assert config.train_cfg.type == 'ResumableEpochLoop'
    ends = [s.get('end', s.get('T_max')) for s in config.param_scheduler]
    assert ends[-1] == config.train_cfg.max_epochs
    for part in ('val', 'test'):
        for name in ('cfg', 'dataloader', 'evaluator'):
            assert config.get(f'{part}_{name}') is None


@pytest.fixture
def labelled(tmp_path, voc_root):
    """Write labels of the tree's images, which here are its masks."""

    def labelled(classes):
        root = tmp_path / 'labels'
        shutil.copytree(voc_root / 'SegmentationClass', root / 'labels')
        ids = [path.stem for path in sorted((root / 'labels').iterdir())]
        manifest = dict(
            classes=list(classes),
            pixels_per_class=dict.fromkeys(classes, 9),
            images=dict.fromkeys(ids, ''),
        )
        (root / 'labels.json').write_text(json.dumps(manifest))
        return str(root)

    return labelled


@leaves
def test_images_and_labels_of_one_size(path, voc_root, labelled):
    config = Config.fromfile(path)
    loader = config.train_dataloader
    assert loader.dataset.label_root.startswith('work_dirs/affinity_labels/')
    kind = DATASETS.get(loader.dataset.type)
    classes = loader.dataset.get('metainfo', kind.METAINFO)['classes']
    assert ('coco' in path.stem) == (len(classes) == 81)
    loader.update(num_workers=0, persistent_workers=False, batch_size=12)
    loader.dataset.update(
        data_root=str(voc_root),
        label_root=labelled(classes),
        data_prefix=dict(img_path='JPEGImages'),
    )
    batch = next(iter(Runner.build_dataloader(loader, seed=0)))
    for image, sample in zip(batch['inputs'], batch['data_samples'], strict=True):
        label = sample.gt_sem_seg.data
        assert image.shape == (3, *config.crop_size)
        assert label.shape == (1, *config.crop_size)
        assert label.max() == 255
    kept = np.unique(torch.cat([s.gt_sem_seg.data for s in batch['data_samples']]))
    assert len(kept) > 10


@pytest.mark.parametrize(
    ('name', 'num_classes'), [('psa_resnet38_voc', 21), ('psa_resnet38_coco', 81)]
)
def test_published_settings_of_psa(name, num_classes):
    config = Config.fromfile(CONFIGS / f'{name}.py')
    assert len(
        DATASETS.get(config.train_dataloader.dataset.type).METAINFO['classes']
    ) == (num_classes)
    assert config.crop_size == (448, 448)
    assert config.train_cfg.max_epochs == 8
    assert config.auto_scale_lr.base_batch_size == 8
    with torch.device('meta'):
        model = MODELS.build(config.model)
        wrapper = build_optim_wrapper(model, config.optim_wrapper)
    assert (len(model.offsets), model.offsets) == (34, model.train_offsets)
    assert (model.stride, model.join.out_channels) == (8, 448)
    groups = {id(g['params'][0]): g for g in wrapper.optimizer.param_groups}
    found = {}
    for parameter, weight in model.named_parameters():
        if not weight.requires_grad:
            assert '.bn' in parameter
            continue
        group = groups[id(weight)]
        assert (group['momentum'], group['weight_decay']) == (0, 5e-4)
        part = '.'.join(parameter.split('.')[:2])
        found.setdefault(round(group['lr'], 9), set()).add(part)
    frozen = {f'backbone.{unit}' for unit in ('conv1a', 'b2', 'b2_1', 'b2_2')}
    assert found[0.0] == frozen
    assert {name.partition('.')[0] for name in found[0.1]} == {'backbone'}
    assert found[1.0] == {'levels.0', 'levels.1', 'levels.2', 'join.weight'}
