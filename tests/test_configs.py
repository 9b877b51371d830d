"""Every config file builds, states only differences, and trains a step."""

from pathlib import Path

import pytest
import timm
import torch
from mmengine.config import Config, ConfigDict
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, PARAM_SCHEDULERS, DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

from mmwsss.models.backbones import attention_vit
from mmwsss.registry import DATA_SAMPLERS, DATASETS, LOOPS, MODELS
from mmwsss.structures import WSSSDataSample

CONFIGS = Path(__file__).parents[1] / 'configs'
PIPELINES = sorted((CONFIGS / 'pipelines').glob('*.py'))
"""Held by tests/test_apis/test_pipeline_stages.py."""
STUDIES = set((CONFIGS / 'studies').rglob('*.py'))
"""Held by tests/test_apis/test_study.py."""
LEAVES = sorted(
    p
    for p in set(CONFIGS.rglob('*.py')) - set(PIPELINES) - STUDIES
    if '_base_' not in p.parts
)
ACR = [path for path in LEAVES if 'acr' in path.parts]
ROOTS = [path for path in LEAVES if 'ablation' not in path.parts]
CACHED = [path for path in ACR if 'cached' in path.stem]
OFFICIAL = [p for p in ACR if 'embedded' not in p.stem and p not in CACHED]
VOC = [path for path in OFFICIAL if 'coco' not in path.stem]
CLASSES = dict(voc=20, coco=80)
MAX_LEAF_LINES, MAX_ABLATION_LINES = 20, 10
TINY_ARCH = dict(embed_dim=24, depth=2, num_heads=2, patch_size=16)
SIZES = dict(vit_base_r50_s16_384=(768, 12, 16), deit_small_patch16_224=(384, 12, 16))
"""Width, depth and pixels a token."""
SIDE = 64


def name_of(path):
    return str(path.relative_to(CONFIGS).with_suffix(''))


leaves = pytest.mark.parametrize('path', LEAVES, ids=name_of)
acr_leaves = pytest.mark.parametrize('path', ACR, ids=name_of)
roots = pytest.mark.parametrize('path', ROOTS, ids=name_of)
official_leaves = pytest.mark.parametrize('path', OFFICIAL, ids=name_of)


@pytest.fixture(autouse=True)
def scope(request):
    """Build in the scope that the config of the test names."""
    path = (
        request.node.callspec.params.get('path')
        if hasattr(request.node, 'callspec')
        else None
    )
    is_leaf = path and path not in PIPELINES
    name = Config.fromfile(path).default_scope if is_leaf else 'mmwsss'
    with DefaultScope.overwrite_default_scope(name):
        yield


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def connect(*address):
        raise AssertionError(f'network used: {address}')

    monkeypatch.setattr('socket.socket.connect', connect)


@pytest.fixture
def model_of(monkeypatch):
    """Build a leaf's model, its backbone replaced by a tiny one."""

    def model_of(config, **changes):
        settings = ConfigDict(config.model.to_dict())
        settings.backbone = dict(type='AttentionViT', arch=TINY_ARCH, img_size=SIDE)
        settings.localization.start_block = 0
        settings.update(changes)
        return MODELS.build(settings)

    return model_of


@leaves
def test_leaf_states_differences_only(path):
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    limit = MAX_ABLATION_LINES if 'ablation' in path.parts else MAX_LEAF_LINES
    assert len(lines) <= limit
    assert any(line.startswith('_base_') for line in lines)


@roots
def test_network_builds_as_it_is(path):
    """On the meta device, so that the large ones cost nothing.

    Ablations have the network of the leaf that they start from.
    """
    config = Config.fromfile(path)
    with torch.device('meta'):
        model = MODELS.build(config.model)
    assert {weight.device.type for weight in model.parameters()} == {'meta'}
    if path not in OFFICIAL:
        return
    arch, backbone = config.model.backbone.arch, model.backbone
    found = (backbone.embed_dim, backbone.depth, backbone.stride)
    assert found == (SIZES[arch] if isinstance(arch, str) else (192, 2, 16))
    assert model.num_classes == CLASSES['coco' if 'coco' in path.stem else 'voc']
    crop = config.train_dataloader.dataset.pipeline[-2].crop_size
    assert backbone.img_size == crop[0] == crop[1]
    assert config.model.data_preprocessor.pad_size_divisor == backbone.stride


def test_every_official_weight_is_asked_for_by_a_known_name(monkeypatch):
    """timm is asked for weights by ``init_weights`` alone."""
    config = Config.fromfile(CONFIGS / 'acr/deit_small_voc.py')
    asked = []
    create = timm.create_model

    def note(name, pretrained=False, **kwargs):
        asked.append((name, pretrained))
        return create(name, pretrained=False, **kwargs)

    monkeypatch.setattr(attention_vit.timm, 'create_model', note)
    model = MODELS.build(config.model)
    assert asked == [('deit_small_patch16_224', False)]
    model.init_weights()
    assert asked[1:] == [('deit_small_patch16_224', True)]


@leaves
def test_parts_of_the_runner_build(path):
    config = Config.fromfile(path)
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    optimizer = config.optim_wrapper.optimizer
    assert wrapper.param_groups[0]['weight_decay'] == optimizer.weight_decay
    assert type(wrapper.optimizer).__name__ == optimizer.type
    for schedule in config.param_scheduler:
        schedule = {k: v for k, v in schedule.items() if k != 'convert_to_iter_based'}
        PARAM_SCHEDULERS.build(schedule, default_args=dict(optimizer=wrapper))
    for evaluator in (config.get('val_evaluator'), config.get('test_evaluator')):
        if evaluator:
            Evaluator(evaluator if isinstance(evaluator, list) else [evaluator])
    Visualizer.get_instance('test_configs')
    for hook in (*config.custom_hooks, *config.default_hooks.values()):
        HOOKS.build(hook)
    for part in ('train', 'val', 'test'):
        if config.get(f'{part}_cfg'):
            assert LOOPS.get(config[f'{part}_cfg'].type)
    sampler = config.train_dataloader.sampler.type
    assert 'Counted' in DATA_SAMPLERS.get(sampler.removeprefix('mmwsss.')).__name__


@official_leaves
def test_schedule_ends_with_the_training(path):
    config = Config.fromfile(path)
    (schedule,) = config.param_scheduler
    assert schedule.end == config.train_cfg.max_epochs
    assert config.train_cfg.type == 'ResumableEpochLoop'


def on(voc_root, config):
    """Point a config's loaders at a small tree."""
    splits = 'ImageSets/Segmentation'
    for name in ('train', 'val', 'test'):
        loader = config[f'{name}_dataloader']
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.data_root = str(voc_root)
    config.train_dataloader.dataset.update(
        ann_file=f'{splits}/train.txt', tag_file=f'{splits}/train_tags.txt'
    )
    return config


@pytest.mark.parametrize('path', sorted(set(VOC) & set(ROOTS)), ids=name_of)
def test_data_sets_build(path, voc_root):
    config = on(voc_root, Config.fromfile(path))
    sizes = [
        len(DATASETS.build(config[f'{name}_dataloader'].dataset))
        for name in ('train', 'val', 'test')
    ]
    assert sizes == [8, 4, 8]


@acr_leaves
def test_a_step_of_each_leaf(path, model_of):
    torch.manual_seed(0)
    config = Config.fromfile(path)
    model = model_of(config)
    images = torch.randint(256, (2, 3, SIDE, SIDE), dtype=torch.uint8)
    samples = [
        WSSSDataSample(metainfo=dict(sample_idx=i)).set_gt_label([i, 5]) for i in (0, 1)
    ]
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses = model.train_step(dict(inputs=list(images), data_samples=samples), wrapper)
    names = {'loss', 'loss_cls'}
    if config.model.view is not None:
        names |= {'loss_cls_view', 'loss_activation', 'loss_affinity'}
    if config.model.get('warm_start'):
        names |= {'loss_warm_start'}
    assert losses.keys() == names
    assert all(torch.isfinite(value) for value in losses.values())
    after = model.state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    assert [name for name in before if torch.equal(before[name], after[name])] == []


@pytest.mark.parametrize(
    ('name', 'view', 'distance'),
    [
        ('view_none', None, 'l1'),
        ('view_hflip', ['DihedralView'], 'l1'),
        ('view_hflip_grey', ['DihedralView', 'GreyView'], 'l1'),
        ('view_hflip_hiding', ['DihedralView', 'PatchHidingView'], 'l1'),
        ('view_hflip_resize', ['DihedralView', 'ResizeView'], 'l1'),
        ('view_resize', ['ResizeView'], 'l1'),
        ('view_rotation', ['DihedralView'], 'l1'),
        ('view_hflip_vflip', ['DihedralView'], 'l1'),
        ('distance_l1', ['DihedralView'], 'l1'),
        ('distance_l2', ['DihedralView'], 'l2'),
        ('distance_smooth_l1', ['DihedralView'], 'smooth_l1'),
    ],
)
def test_ablations_change_what_their_name_says(name, view, distance):
    config = Config.fromfile(CONFIGS / f'acr/ablation/{name}.py')
    views = config.model.view
    if views is not None:
        views = [v.type for v in ([views] if isinstance(views, dict) else views)]
    assert views == view
    assert config.model.consistency.distance == distance
    reference = Config.fromfile(CONFIGS / 'acr/vit_hybrid_voc.py')
    changed = {k for k in reference if reference[k] != config[k]}
    assert changed <= {'model'}


def test_all_ablations_are_named_above():
    files = {path.stem for path in ACR if 'ablation' in path.parts}
    marks = test_ablations_change_what_their_name_says.pytestmark
    assert files == {case[0] for case in marks[0].args[1]}


def test_settings_of_the_supplement():
    config = Config.fromfile(CONFIGS / 'acr/vit_hybrid_voc.py')
    assert config.model.consistency.to_dict() == dict(
        type='AttentionConsistencyLoss', alpha=100.0, beta=100.0, distance='l1'
    )
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.weight_decay) == (0.01, 5e-4)
    assert config.train_cfg.max_epochs == 15
    assert config.auto_scale_lr.base_batch_size == 4
    assert config.crop_size == (384, 384)


def test_a_config_runs_from_another_folder(tmp_path, monkeypatch, voc_root):
    monkeypatch.chdir(tmp_path)
    config = on(voc_root, Config.fromfile(CONFIGS / 'acr/small_hybrid_voc.py'))
    loader = Runner.build_dataloader(config.test_dataloader)
    assert len(loader) == 8
