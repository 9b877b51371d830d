"""Configs of RCA and CAM: a step of each on a tiny network, and what they say."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

from mmwsss.datasets import COCOTagDataset
from mmwsss.registry import MODELS
from mmwsss.structures import WSSSDataSample

CONFIGS = Path(__file__).parents[1] / 'configs'
RCA = sorted((CONFIGS / 'rca').rglob('*.py'))
LEAVES = RCA + sorted((CONFIGS / 'cam').glob('*.py'))
ABLATIONS = {
    'bank_50': {'memory.num_slots': 50},
    'bank_100': {'memory.num_slots': 100},
    'bank_200': {'memory.num_slots': 200},
    'bank_1000': {'memory.num_slots': 1000},
    'prototypes_1': {'aggregation.num_prototypes': 1},
    'prototypes_5': {'aggregation.num_prototypes': 5},
    'prototypes_20': {'aggregation.num_prototypes': 20},
    'temperature_005': {'contrast.temperature': 0.05},
    'temperature_010': {'contrast.temperature': 0.1},
    'momentum_090': {'memory.momentum': 0.9},
    'momentum_0999': {'memory.momentum': 0.999},
    'gate_05': {'memory.score_gate': 0.5},
    'gate_09': {'memory.score_gate': 0.9},
    'beta_1': {'contrast.beta': 1.0},
    'beta_16': {'contrast.beta': 16.0},
    'mixup_off': {'contrast.mixup': False},
    'contrast_weight_0001': {'contrast.loss_weight': 0.001},
    'contrast_weight_01': {'contrast.loss_weight': 0.1},
    'coarse_weight_1': {'coarse_weight': 1.0},
    'space_raw': {'space': 'raw'},
    'no_contrast': {'contrast': None},
    'no_aggregation': {'aggregation': None},
    'oaa': {'memory': None, 'contrast': None, 'aggregation': None},
}
SIDE = 32


def name_of(path):
    return str(path.relative_to(CONFIGS).with_suffix(''))


leaves = pytest.mark.parametrize('path', LEAVES, ids=name_of)


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmwsss'):
        yield


def tiny(config):
    """Return a leaf's model settings on a small CNN."""
    settings = ConfigDict(config.model.to_dict())
    settings.backbone = dict(type='TimmCNN', model_name='resnet10t', out_indices=(2,))
    settings.head.update(channels=8)
    if settings.type == 'RCAClassifier':
        settings.channels = 128
    else:
        settings.head.in_channels = 128
    if settings.get('memory'):
        settings.memory.num_slots = 20
    return settings


@leaves
def test_a_step_of_each_leaf(path):
    torch.manual_seed(0)
    config = Config.fromfile(path)
    model = MODELS.build(tiny(config))
    model.init_weights()
    images = torch.randint(256, (2, 3, SIDE, SIDE), dtype=torch.uint8)
    samples = [
        WSSSDataSample(metainfo=dict(sample_idx=i)).set_gt_label([i, 5]) for i in (0, 1)
    ]
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    hub = MessageHub.get_instance('rca configs')
    hub.update_info_dict(dict(epoch=max(1, config.model.get('contrast_from', 0))))
    if config.model.get('aggregation'):
        model.refresh_prototypes()
    losses = model.train_step(dict(inputs=list(images), data_samples=samples), wrapper)
    names = {'loss', 'loss_cls'}
    if config.model.type == 'RCAClassifier':
        names |= {'loss_cls_coarse'}
        names |= {'loss_contrast'} if config.model.get('contrast') else set()
    assert losses.keys() == names
    after = model.state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    parameters = {name for name, _ in model.named_parameters()}
    still = {name for name in parameters if torch.equal(before[name], after[name])}
    # timm starts residual branches at zero, so that some of its biases stay there
    assert not [n for n in still if not n.startswith(('projection.', 'backbone.'))]


@leaves
def test_the_hooks_belong_to_the_model(path):
    config = Config.fromfile(path)
    hooks = {hook.type for hook in config.custom_hooks}
    assert 'CountedRandomnessHook' in hooks
    has = {
        'RegionMemoryHook': config.model.get('memory'),
        'PrototypeRefreshHook': config.model.get('aggregation'),
    }
    assert hooks & has.keys() == {name for name, part in has.items() if part}


@pytest.mark.parametrize('name', sorted(ABLATIONS))
def test_ablations_change_what_their_name_says(name):
    config = Config.fromfile(CONFIGS / f'rca/ablation/{name}.py')
    expected = Config.fromfile(CONFIGS / 'rca/vgg16_voc.py')
    expected.merge_from_dict({f'model.{k}': v for k, v in ABLATIONS[name].items()})
    assert config.model == expected.model
    changed = {key for key in expected if expected[key] != config[key]}
    assert changed <= {'custom_hooks'}


def test_all_ablations_are_named_above():
    assert {p.stem for p in RCA if 'ablation' in p.parts} == set(ABLATIONS)


def test_settings_of_the_paper():
    config = Config.fromfile(CONFIGS / 'rca/vgg16_voc.py')
    model = config.model
    assert model.memory.to_dict() == dict(
        type='RegionMemory', num_slots=500, momentum=0.99, score_gate=0.7
    )
    assert model.contrast.to_dict() == dict(
        type='RegionContrastLoss', loss_weight=0.01, temperature=0.07, beta=8.0
    )
    assert model.aggregation.num_prototypes == 10
    assert (model.coarse_weight, model.contrast_from) == (0.4, 2)
    assert config.train_cfg.max_epochs == 30
    assert config.auto_scale_lr.base_batch_size == 8
    assert config.train_dataloader.batch_size == 2
    assert config.input_size == (368, 368)


@pytest.mark.parametrize('name', ['vgg16', 'resnet38'])
def test_coco_has_its_classes(name):
    config = Config.fromfile(CONFIGS / f'rca/{name}_coco.py')
    assert config.model.num_classes == len(COCOTagDataset.METAINFO['classes']) - 1
    for part in ('train', 'val', 'test', 'seed'):
        dataset = config[f'{part}_dataloader'].dataset
        assert dataset.type == 'COCOTagDataset'
        masks = 'seg_map_path' in dataset.data_prefix
        assert masks == (part in ('val', 'test'))
        assert ('tag_file' in dataset) == (part in ('train', 'seed'))
