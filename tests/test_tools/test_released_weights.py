"""Weights under the released names: the outputs they gave, what is missing or left."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from tiny_run import without_slow_logging
from torch import nn
from torch.nn import functional as F

from mmwsss.apis.seeds import load_classifier
from mmwsss.datasets import VOCTagDataset
from mmwsss.registry import DATASETS, MODELS
from mmwsss.utils.checkpoint import read_checkpoint
from mmwsss.utils.errors import CheckpointError

ROOT = Path(__file__).parents[2]
DATA = ROOT / 'tests/data'
RELATIVE = 2e-5
THEIRS = 'pretrained.model.'
ACR_CONFIG = f"""
_base_ = {str(ROOT / 'configs/acr/vit_hybrid_voc_release.py')!r}
model = dict(
    num_classes=5,
    backbone=dict(
        _delete_=True,
        type='AttentionViT',
        arch=dict(embed_dim=48, depth=12, num_heads=3, patch_size=16),
        img_size=64,
    ),
)
train_dataloader = dict(dataset=dict(type='FiveClasses'))
"""
WIDTH, SLOTS, PROTOTYPES, CLASSES = 16, 6, 3, 20
RCA_CONFIG = f"""
_base_ = {str(ROOT / 'configs/rca/vgg16_voc_release.py')!r}
model = dict(
    channels={WIDTH},
    backbone=dict(_delete_=True, type='OneConvolution', channels={WIDTH}),
    head=dict(channels={WIDTH}),
    coarse_head=dict(type='CAMHead', channels={WIDTH}, num_convs=3),
    memory=dict(num_slots={SLOTS}),
    aggregation=dict(num_prototypes={PROTOTYPES}),
)
"""
VGG_LAYERS = {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256}
VGG_LAYERS |= dict.fromkeys((17, 19, 21, 24, 26, 28), 512)


@DATASETS.register_module(force=True)
class FiveClasses(VOCTagDataset):
    """VOC's first classes."""

    METAINFO = dict(
        classes=VOCTagDataset.METAINFO['classes'][:6],
        palette=VOCTagDataset.METAINFO['palette'][:6],
    )


@MODELS.register_module(force=True)
class OneConvolution(BaseModule):
    """A backbone at stride 4 whose weights are one layer of the release's."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 4, stride=4)

    def forward(self, inputs):
        return (self.conv(inputs).relu(),)


def arrays(name):
    with np.load(DATA / name) as file:
        return {key: torch.from_numpy(file[key]) for key in file}


def draw(shapes, *, seed=0, scale=0.3):
    generator = torch.Generator().manual_seed(seed)
    return {k: scale * torch.randn(v, generator=generator) for k, v in shapes.items()}


def released_acr(known):
    """Return the tiny transformer of the reference as the release saves it."""
    own = {k[7:]: v for k, v in known.items() if k.startswith('weight/')}
    state = {
        k if k.startswith('cls_head.') else f'{THEIRS}{k}': v for k, v in own.items()
    }
    unused = {
        f'{THEIRS}bkg_token': (1, 1, 48),
        'scratch.layer1_rn.weight': (8, 8, 3, 3),
        'pretrained.act_postprocess3.3.weight': (8, 48, 1, 1),
        'pretrained.act_postprocess4.4.bias': (8,),
    }
    return state | draw(unused)


def stack_shapes(name, out):
    square = (WIDTH, WIDTH, 3, 3)
    shapes = {f'{name}.{i}.weight': square for i in (0, 2, 4)}
    shapes |= {f'{name}.{i}.bias': (WIDTH,) for i in (0, 2, 4)}
    return shapes | {f'{name}.6.weight': (out, WIDTH, 1, 1), f'{name}.6.bias': (out,)}


def released_rca(known):
    """Return the release's names around the reference's bank and aggregation."""
    shapes = {'features.0.weight': (WIDTH, 3, 4, 4), 'features.0.bias': (WIDTH,)}
    shapes |= stack_shapes('extra_convs', CLASSES)
    for c in range(CLASSES):
        shapes |= stack_shapes(f'extra_convs{c}', 1)
    for index in (0, 3):
        shapes[f'extra_F.{index}.weight'] = (WIDTH, WIDTH, 3, 3)
        shapes[f'extra_F.{index}.bias'] = (WIDTH,)
    norm = ('weight', 'bias', 'running_mean', 'running_var')
    shapes |= {f'extra_F.1.{name}': (WIDTH,) for name in norm}
    state = draw(shapes)
    state['extra_F.1.running_var'] = state['extra_F.1.running_var'].abs() + 0.5
    state['extra_F.1.num_batches_tracked'] = torch.tensor(7)
    prefix = 'aggregation/weight/'
    state |= {k[len(prefix) :]: v for k, v in known.items() if k.startswith(prefix)}
    for c in range(CLASSES):
        state[f'queue{c}'] = known['input/bank'][c]
        state[f'queue_ptr{c}'] = known['input/pointer'][c : c + 1].long()
        state[f'cluter{c}'] = known['input/prototypes'][c]
    return state


@pytest.fixture
def tool(monkeypatch, tmp_path, capsys):
    """Run a converter; return the checkpoint's path, or what the tool says."""
    without_slow_logging(monkeypatch)
    monkeypatch.syspath_prepend(ROOT / 'tools/model_converters')

    def tool(name, content, config, *options):
        weights, path = tmp_path / 'released.pth', tmp_path / 'made/converted.pth'
        torch.save(content, weights)
        (tmp_path / 'config.py').write_text(config)
        arguments = [name, weights, '--out', path, '--config', tmp_path / 'config.py']
        monkeypatch.setattr(sys, 'argv', [*map(str, arguments), *options])
        module = importlib.import_module(name)
        launch = importlib.import_module('mmwsss.apis.launch')
        try:
            launch.run_tool(module.main)
        except SystemExit:
            assert not path.exists()
            return capsys.readouterr().err
        return path

    yield tool
    for name in ('acr_release', 'rca_release', 'released_weights'):
        sys.modules.pop(name, None)


def assert_close(found, expected):
    error = (found - expected).abs().max() / expected.abs().max()
    assert error <= RELATIVE


def load(path, tmp_path):
    """Load a checkpoint into its config's model as testing does: nothing is missing."""
    return load_classifier(Config.fromfile(tmp_path / 'config.py'), str(path))


def test_acr_gives_the_released_logits_and_maps(tool, tmp_path):
    known = arrays('acr_tiny.npz')
    path = tool('acr_release', released_acr(known), ACR_CONFIG)
    model = load(path, tmp_path)
    device = next(model.parameters()).device
    images = known['image'].to(device)
    tags = [row.nonzero()[:, 0].to(device) for row in known['label']]
    with torch.no_grad():
        assert_close(model(images).cpu(), known['logits_view1'])
        _, _, maps = model.localizer.sum_views(
            model.backbone, model.cls_head, images, lambda logits: tags
        )
    expected = known['map/grad/start10/affinity']
    for found, want, chosen in zip(maps.cpu(), expected, tags):
        assert_close(found[: len(chosen)], want[chosen.cpu()])


def test_the_checkpoint_says_what_it_is_of(tool, tmp_path):
    path = tool('acr_release', released_acr(arrays('acr_tiny.npz')), ACR_CONFIG)
    content = read_checkpoint(path)
    assert content.keys() == {'meta', 'state_dict'}
    assert content['meta']['dataset_meta']['classes'][:2] == ('background', 'aeroplane')
    assert "type='ACRClassifier'" in content['meta']['cfg'].replace(' ', '')
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def released_maps(state, image):
    """Compute O and the projection by the released names, as the equations say."""
    x = F.conv2d(image, state['features.0.weight'], state['features.0.bias'], stride=4)
    x = x.relu()

    def stack(y, name):
        for index in (0, 2, 4):
            weight, bias = (state[f'{name}.{index}.{k}'] for k in ('weight', 'bias'))
            y = F.conv2d(y, weight, bias, padding=1).relu()
        return F.conv2d(y, state[f'{name}.6.weight'], state[f'{name}.6.bias'])

    coarse = stack(x, 'extra_convs')
    y = F.conv2d(x, state['extra_F.0.weight'], state['extra_F.0.bias'], padding=1)
    norm = (state[f'extra_F.1.{k}'] for k in ('running_mean', 'running_var'))
    scale = (state[f'extra_F.1.{k}'] for k in ('weight', 'bias'))
    y = F.batch_norm(y, *norm, *scale).relu()
    projected = F.conv2d(
        y, state['extra_F.3.weight'], state['extra_F.3.bias'], padding=1
    )
    linear = lambda name, rows: F.linear(
        rows, state[f'{name}.weight'].flatten(1), state[f'{name}.bias']
    )
    rows = x.flatten(2).transpose(1, 2)
    centres = torch.cat([state[f'cluter{c}'] for c in range(CLASSES)])
    affinity = linear('Q', rows) @ linear('K', centres).T * CLASSES / PROTOTYPES
    context = linear('aggre', affinity @ linear('V', centres))
    joined = linear('concat_project', torch.cat([rows, context], 2))
    joined = joined.transpose(1, 2).view(x.shape)
    fine = [stack(joined, f'extra_convs{c}') for c in range(CLASSES)]
    return torch.cat(fine, 1), coarse, projected


@pytest.mark.parametrize('separate', [False, True])
def test_rca_gives_the_released_maps(tool, tmp_path, separate):
    """Also where the config has a coarse stack for each class."""
    known = arrays('rca_ops.npz')
    state = released_rca(known)
    wrapped = {f'module.{key}': value for key, value in state.items()}
    content = dict(epoch=29, global_counter=5, state_dict=wrapped, optimizer={})
    text = RCA_CONFIG + f'model["coarse_head"].update(separate={separate})\n'
    model = load(tool('rca_release', content, text), tmp_path).cpu()
    image = draw(dict(image=(2, 3, 16, 24)), seed=3)['image']
    fine, coarse, projected = released_maps(state, image)
    with torch.no_grad():
        features = model.backbone(image)[-1]
        assert_close(model.class_maps(image), fine)
        assert_close(model.coarse_head(features), coarse)
        assert_close(model.projection(features), projected)
        found = model.aggregation(known['input/feature'])
    assert_close(found, known['official/aggregation/output'])
    assert torch.equal(model.memory.features, known['input/bank'])
    assert torch.equal(model.memory.pointer, known['input/pointer'].long())
    assert model.memory.valid.all() and model.aggregation.ready.all()
    assert int(model.aggregation.refreshes) == 29


CHANGES = {
    'lacks pretrained.model.blocks.3.attn.proj.bias': (
        lambda s: s.pop(f'{THEIRS}blocks.3.attn.proj.bias')
    ),
    'has 1 weights that the config has no place for, the first being pretrained.model'
    '.dist_token': lambda s: s.update({f'{THEIRS}dist_token': torch.zeros(1)}),
    'cls_head.weight becomes (20, 48), the config has (5, 48)': (
        lambda s: s.update({'cls_head.weight': torch.zeros(20, 48)})
    ),
    'holds no state dict of tensors': lambda s: s.update(epoch=3),
}


@pytest.mark.parametrize('message', CHANGES)
def test_other_weights_of_acr_are_named(tool, message):
    state = released_acr(arrays('acr_tiny.npz'))
    CHANGES[message](state)
    assert message in tool('acr_release', state, ACR_CONFIG)


RCA_CHANGES = {
    'lacks extra_convs7.4.weight': lambda s: s.pop('extra_convs7.4.weight'),
    'the first being queue20': lambda s: s.update(queue20=torch.zeros(1)),
    'has 2 layers features.<n>, the backbone of the config 1': (
        lambda s: s.update({'features.2.weight': torch.zeros(1)})
    ),
}


@pytest.mark.parametrize('message', RCA_CHANGES)
def test_other_weights_of_rca_are_named(tool, message):
    state = released_rca(arrays('rca_ops.npz'))
    RCA_CHANGES[message](state)
    assert message in tool('rca_release', state, RCA_CONFIG)


@pytest.mark.parametrize(
    ('name', 'config', 'message'),
    [
        ('acr_release', RCA_CONFIG, 'of RCAClassifier, not of ACRClassifier'),
        ('rca_release', ACR_CONFIG, 'not of RCA in the form of the release'),
        (
            'rca_release',
            RCA_CONFIG + 'model["head"]["separate"] = False\n',
            'not of RCA in the form of the release',
        ),
        (
            'acr_release',
            ACR_CONFIG.replace('FiveClasses', 'VOCTagDataset'),
            'VOCTagDataset has 21 classes with the background, the model 5 without',
        ),
    ],
)
def test_a_config_of_another_method_is_refused(tool, name, config, message):
    assert message in tool(name, released_acr(arrays('acr_tiny.npz')), config)


def test_objects_are_not_loaded(tool):
    state = dict(released_acr(arrays('acr_tiny.npz')), path=ROOT)
    assert 'holds objects other than tensors' in tool('acr_release', state, ACR_CONFIG)


def shape_of_model(config, **changes):
    config = Config.fromfile(ROOT / 'configs' / config)
    config.merge_from_dict(changes)
    with DefaultScope.overwrite_default_scope('mmwsss'), torch.device('meta'):
        return MODELS.build(config.model)


@pytest.fixture
def converted(monkeypatch):
    """Convert shapes by name on the meta device, at full size."""
    monkeypatch.syspath_prepend(ROOT / 'tools/model_converters')

    def converted(name, shapes, model):
        shared = importlib.import_module('released_weights')
        state = {k: torch.empty(shape, device='meta') for k, shape in shapes.items()}
        monkeypatch.setattr(shared, 'read_checkpoint', lambda path: state)
        source = shared.ReleasedWeights('released.pth')
        found = importlib.import_module(name).convert(source, model)
        source.finish()
        shared.check_shapes(found, model, 'released.pth')
        model.load_state_dict(found, strict=True, assign=True)

    yield converted
    for name in ('acr_release', 'rca_release', 'released_weights'):
        sys.modules.pop(name, None)


def test_names_of_the_whole_hybrid(converted):
    """The transformer's names are timm's; some are written out here."""
    model = shape_of_model('acr/vit_hybrid_voc_release.py')
    shapes = {
        f'{THEIRS}{k}': v.shape for k, v in model.backbone.vit.state_dict().items()
    }
    stem = f'{THEIRS}patch_embed.backbone'
    written = {
        f'{stem}.stem.conv.weight': (64, 3, 7, 7),
        f'{stem}.stages.0.blocks.0.downsample.norm.weight': (256,),
        f'{stem}.stages.2.blocks.8.conv3.weight': (1024, 256, 1, 1),
        f'{THEIRS}patch_embed.proj.weight': (768, 1024, 1, 1),
        f'{THEIRS}pos_embed': (1, 577, 768),
        f'{THEIRS}cls_token': (1, 1, 768),
        f'{THEIRS}blocks.11.attn.qkv.weight': (2304, 768),
    }
    assert written.items() <= {k: tuple(v) for k, v in shapes.items()}.items()
    shapes |= {'cls_head.weight': (20, 768), 'cls_head.bias': (20,)}
    shapes |= {f'{THEIRS}norm.weight': (768,), f'{THEIRS}head.weight': (1000, 768)}
    shapes |= {f'{THEIRS}bkg_token': (1, 1, 768)}
    shapes |= {'scratch.layer4_rn.weight': (256, 768, 3, 3)}
    converted('acr_release', shapes, model)


def test_names_of_the_whole_vgg_and_its_heads(converted):
    shapes, width = {}, 3
    for number, out in VGG_LAYERS.items():
        shapes[f'features.{number}.weight'] = (out, width, 3, 3)
        shapes[f'features.{number}.bias'] = (out,)
        width = out
    whole = {k: v.shape for k, v in released_rca(arrays('rca_ops.npz')).items()}
    sizes = {WIDTH: 512, 2 * WIDTH: 1024, SLOTS: 500, PROTOTYPES: 10}
    for name, shape in whole.items():
        if name.startswith('extra_') or '.' in name and 'features' not in name:
            # kernels of 3 stay what they are
            wide = [sizes.get(n, n) if n >= WIDTH else n for n in shape]
            shapes[name] = tuple(wide)
    for c in range(CLASSES):
        shapes[f'queue{c}'], shapes[f'queue_ptr{c}'] = (500, 512), (1,)
        shapes[f'cluter{c}'] = (10, 512)
    converted('rca_release', shapes, shape_of_model('rca/vgg16_voc_release.py'))


@pytest.mark.parametrize('name', ['acr_release', 'rca_release'])
def test_help_has_an_example(tool, monkeypatch, capsys, name):
    monkeypatch.setattr(sys, 'argv', [name, '--help'])
    with pytest.raises(SystemExit):
        importlib.import_module(name).main()
    shown = capsys.readouterr().out
    assert f'python tools/model_converters/{name}.py' in shown and '--out' in shown


def test_a_name_is_taken_once(tool, tmp_path):
    shared = importlib.import_module('released_weights')
    torch.save(dict(a=torch.zeros(1)), tmp_path / 'a.pth')
    source = shared.ReleasedWeights(tmp_path / 'a.pth')
    assert source.epoch is None and source.names() == ['a']
    source.take('a')
    with pytest.raises(CheckpointError, match='lacks a;'):
        source.take('a')
    source.finish()
