"""The wide network against a hand-computed table and plain functions."""

import pytest
import torch
import torch.nn.functional as F
from model_builders import images

from mmwsss.models.backbones import ResNet38, resnet38
from mmwsss.models.backbones.resnet38 import WideBottleneck, WideUnit
from mmwsss.registry import MODELS
from mmwsss.utils.errors import CheckpointError, ConfigError

# unit: (parameters, channels, side of its map of 64 pixels)
# A unit a -> m -> b has 2a + 2m of normalization, 9am + 9mb of 3x3 and ab of shortcut
# where the shape changes; a bottleneck a -> b has 2a + 2(b/4) + 2(b/2) of
# normalization, ab/4 + 9(b/4)(b/2) + bb/2 of its branch and ab of shortcut.
TABLE = {
    'conv1a': (1_728, 64, 64),
    'b2': (229_760, 128, 32),
    'b2_1': (295_424, 128, 32),
    'b2_2': (295_424, 128, 32),
    'b3': (918_272, 256, 16),
    'b3_1': (1_180_672, 256, 16),
    'b3_2': (1_180_672, 256, 16),
    'b4': (3_671_552, 512, 8),
    **{f'b4_{index}': (4_720_640, 512, 8) for index in range(1, 6)},
    'b5': (7_604_224, 1024, 8),
    'b5_1': (9_440_256, 1024, 8),
    'b5_2': (9_440_256, 1024, 8),
    'b6': (9_442_304, 2048, 8),
    'b7': (37_758_976, 4096, 8),
    'bn7': (8_192, 4096, 8),
}
NARROW = 16
"""Divisor of all widths where only names or modes are tested."""


def counted(module):
    return sum(weight.numel() for weight in module.parameters())


def recorded_shapes(network, batch):
    shapes = {}
    for name, module in network.named_children():
        module.register_forward_hook(
            lambda module, inputs, output, name=name: shapes.update({name: output})
        )
    (features,) = network(batch)
    return {name: tuple(output.shape) for name, output in shapes.items()}, features


def test_parameters_and_maps_of_every_unit():
    with torch.device('meta'):
        network = ResNet38().eval()
        shapes, features = recorded_shapes(network, torch.zeros(1, 3, 64, 64))
    found = {
        name: (counted(module), *shapes[name][1:3])
        for name, module in network.named_children()
    }
    assert found == TABLE
    assert counted(network) == 105_070_912 == sum(row[0] for row in TABLE.values())
    assert features.shape == (1, 4096, 8, 8)
    assert network.channels == 4096


@pytest.mark.parametrize(('size', 'grid'), [((368, 368), (46, 46)), ((60, 41), (8, 6))])
def test_stride_8(size, grid):
    with torch.device('meta'):
        (features,) = ResNet38()(torch.zeros(1, 3, *size))
    assert features.shape[-2:] == grid


def test_dilations_of_the_last_stages():
    with torch.device('meta'):
        network = ResNet38()
    found = {
        name: (module.dilation[0], module.stride[0])
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (3, 3)
    }
    special = {name: pair for name, pair in found.items() if pair != (1, 1)}
    assert special == {
        'b2.conv_branch2a': (1, 2),
        'b3.conv_branch2a': (1, 2),
        'b4.conv_branch2a': (1, 2),
        'b5.conv_branch2b1': (2, 1),
        'b5_1.conv_branch2a': (2, 1),
        'b5_1.conv_branch2b1': (2, 1),
        'b5_2.conv_branch2a': (2, 1),
        'b5_2.conv_branch2b1': (2, 1),
        'b6.conv_branch2b1': (4, 1),
        'b7.conv_branch2b1': (4, 1),
    }
    dropouts = [m.p for m in network.modules() if isinstance(m, torch.nn.Dropout2d)]
    assert dropouts == [0.3, 0.3, 0.5, 0.5]


def redrawn(unit):
    """Draw weights and statistics in float64; no dropout."""
    generator = torch.Generator().manual_seed(2)
    for name, tensor in unit.double().state_dict().items():
        if tensor.is_floating_point():
            drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            tensor.copy_(drawn.abs() + 0.5 if name.endswith('var') else 0.3 * drawn)
    return unit.eval()


def activate(x, norm):
    """Normalize with running statistics, then cut below 0."""
    shape = (1, -1, 1, 1)
    centred = (x - norm.running_mean.view(shape)) / (
        norm.running_var.view(shape) + norm.eps
    ).sqrt()
    return (centred * norm.weight.view(shape) + norm.bias.view(shape)).clamp(min=0)


UNITS = [
    ('same shape', dict(inside=4, outside=6), False),
    ('wider', dict(inside=4, outside=8), True),
    ('reduced', dict(inside=4, outside=6, stride=2), True),
    ('dilated', dict(inside=4, outside=8, first_dilation=1, dilation=2), True),
    ('dilated twice', dict(inside=4, outside=6, first_dilation=2, dilation=2), False),
]


@pytest.mark.parametrize(('name', 'settings', 'has_shortcut'), UNITS)
def test_unit_against_plain_functions(name, settings, has_shortcut):
    unit = redrawn(WideUnit(6, **settings))
    x = images(2, 9, 10).repeat(1, 2, 1, 1).double()
    stride, first = settings.get('stride', 1), settings.get('first_dilation', 1)
    second = settings.get('dilation', 1)
    a = activate(x, unit.bn_branch2a)
    inner = F.conv2d(a, unit.conv_branch2a.weight, None, stride, first, first)
    inner = activate(inner, unit.bn_branch2b1)
    expected = F.conv2d(inner, unit.conv_branch2b1.weight, None, 1, second, second)
    if has_shortcut:
        expected = expected + F.conv2d(a, unit.conv_branch1.weight, None, stride)
    else:
        assert unit.conv_branch1 is None
        expected = expected + x
    torch.testing.assert_close(unit(x), expected)


def test_bottleneck_against_plain_functions():
    unit = redrawn(WideBottleneck(6, outside=8, dilation=4, dropout=0.5))
    x = images(2, 9, 10).repeat(1, 2, 1, 1).double()
    a = activate(x, unit.bn_branch2a)
    inner = activate(F.conv2d(a, unit.conv_branch2a.weight), unit.bn_branch2b1)
    inner = F.conv2d(inner, unit.conv_branch2b1.weight, None, 1, 4, 4)
    inner = activate(inner, unit.bn_branch2b2)
    expected = F.conv2d(inner, unit.conv_branch2b2.weight)
    expected = expected + F.conv2d(a, unit.conv_branch1.weight)
    torch.testing.assert_close(unit(x), expected)


def test_dropout_takes_whole_channels_in_training_only():
    unit = redrawn(WideBottleneck(6, outside=64, dilation=4, dropout=0.5))
    seen = []
    torch.manual_seed(0)
    unit.conv_branch2b2.register_forward_hook(lambda m, inputs, o: seen.append(inputs))
    x = images(1, 6, 6).repeat(1, 2, 1, 1).double()
    unit.dropout_2b2.train()
    unit(x)
    unit.eval()(x)
    (dropped,), (kept,) = seen
    zeroed = (dropped == 0).flatten(2).all(2)[0]
    assert 4 < zeroed.sum() < 28
    torch.testing.assert_close(dropped[0, ~zeroed], 2 * kept[0, ~zeroed])


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    return ResNet38()


def test_testing_is_deterministic_and_training_is_not(network):
    batch = images(1, 32, 32)
    with torch.no_grad():
        assert network.eval() is network
        (first,), (second,) = network(batch), network(batch)
        assert first.shape == (1, 4096, 4, 4)
        assert first.isfinite().all() and first.std() > 0 and first.min() == 0
        assert torch.equal(first, second)
        assert network.train() is network
        assert not torch.equal(network(batch)[0], first)


@pytest.fixture
def narrow(monkeypatch):
    """Build thin networks of the same names."""
    stages = {
        name: dict(s, inside=s['inside'] // NARROW, outside=s['outside'] // NARROW)
        for name, s in resnet38.STAGES.items()
    }
    bottlenecks = {
        name: dict(s, outside=s['outside'] // NARROW)
        for name, s in resnet38.BOTTLENECKS.items()
    }
    monkeypatch.setattr(resnet38, 'STAGES', stages)
    monkeypatch.setattr(resnet38, 'BOTTLENECKS', bottlenecks)
    return ResNet38


@pytest.mark.parametrize('norm_eval', [True, False])
def test_normalization_is_frozen_if_asked_for(narrow, norm_eval):
    thin = narrow(norm_eval=norm_eval).train()
    before = {k: v.clone() for k, v in thin.named_buffers() if 'running' in k}
    thin(images(2, 32, 32))[0].square().mean().backward()
    changed = [
        k for k, v in thin.named_buffers() if 'running' in k and (v != before[k]).any()
    ]
    assert changed == ([] if norm_eval else list(before))
    for name, weight in thin.named_parameters():
        is_frozen = norm_eval and 'bn' in name
        assert weight.requires_grad != is_frozen
        assert (weight.grad is None) == is_frozen, name


def published(state):
    """Add what files of the field have more and less than torch writes today."""
    state = {k: v for k, v in state.items() if 'num_batches_tracked' not in k}
    return state | {'fc8.weight': torch.zeros(20, 4096, 1, 1)}


@pytest.mark.parametrize(
    'change',
    [
        lambda state: state,
        published,
        lambda state: {f'module.{key}': value for key, value in state.items()},
        lambda state: dict(state_dict=state, meta=dict(epoch=3)),
    ],
)
def test_weights_from_a_file(tmp_path, narrow, change):
    first = narrow().state_dict()
    drawn = {k: torch.randn(v.shape).to(v.dtype) for k, v in first.items()}
    torch.save(change(drawn), tmp_path / 'resnet38.pth')
    thin = narrow(pretrained=str(tmp_path / 'resnet38.pth'))
    thin.init_weights()
    for name, tensor in thin.state_dict().items():
        if 'num_batches_tracked' not in name:
            assert torch.equal(tensor, drawn[name]), name


NAMES = [
    'conv1a.weight',
    'b2.conv_branch1.weight',
    'b2_1.bn_branch2b1.running_var',
    'b4_5.conv_branch2a.weight',
    'b5.conv_branch2b1.weight',
    'b6.bn_branch2b2.bias',
    'b7.conv_branch2b2.weight',
    'bn7.running_mean',
]


def test_names_of_the_field():
    with torch.device('meta'):
        names = ResNet38().state_dict()
    assert set(NAMES) <= set(names)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda s: {k: v for k, v in s.items() if 'b6' not in k}, r'lacks .*b6\.bn'),
        (lambda s: s | {'conv1a.weight': torch.zeros(2)}, 'size mismatch for conv1a'),
    ],
)
def test_weights_of_another_network(tmp_path, narrow, change, message):
    path = tmp_path / 'resnet38.pth'
    torch.save(change(narrow().state_dict()), path)
    thin = narrow(pretrained=str(path))
    with pytest.raises(CheckpointError, match=f'(?s){message}'):
        thin.init_weights()


def test_missing_file(tmp_path, narrow):
    thin = narrow(pretrained=str(tmp_path / 'none.pth'))
    with pytest.raises(CheckpointError, match=r'no checkpoint at .*none\.pth'):
        thin.init_weights()


LEVELS = {
    0: ('b3', 128, 32),
    1: ('b4', 256, 16),
    2: ('b5', 512, 8),
    3: ('b6', 1024, 8),
    4: ('b7', 2048, 8),
    5: ('', 4096, 8),
}
"""Level: the stage behind it, channels and side of its map of 64 pixels."""


def test_channels_and_sizes_of_the_levels():
    with torch.device('meta'):
        maps = ResNet38(out_indices=range(6)).eval()(torch.zeros(2, 3, 64, 64))
    found = [tuple(level.shape) for level in maps]
    assert found == [(2, width, side, side) for _, width, side in LEVELS.values()]


@pytest.mark.parametrize('out_indices', [(5,), (2, 3, 5), (0, 4, 5)])
@pytest.mark.parametrize('training', [False, True])
def test_levels_are_first_activations_of_the_stages_behind(
    narrow, out_indices, training
):
    """Statistics move once a pass, as if no level were asked for."""
    torch.manual_seed(0)
    thin = narrow(norm_eval=False, out_indices=out_indices)
    plain = narrow(norm_eval=False)
    plain.load_state_dict(thin.state_dict())
    seen = {}
    for level in out_indices[:-1]:
        name = LEVELS[level][0]
        norm = getattr(plain, name).bn_branch2a
        norm.register_forward_hook(lambda *call, n=name: seen.update({n: call[-1]}))
    passes = []
    for network in (thin, plain):
        torch.manual_seed(1)  # of the dropout
        passes.append(network.train(training)(images(2, 32, 32)))
    *inner, last = passes[0]
    torch.testing.assert_close(last, passes[1][0], rtol=0, atol=0)
    assert len(inner) == len(out_indices) - 1
    for level, found in zip(out_indices, inner):
        expected = seen[LEVELS[level][0]].relu()
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(thin.state_dict()[name], tensor), name


@pytest.mark.parametrize('out_indices', [(), (2, 3), (3, 2, 5), (5, 5), (-1, 5), (6,)])
def test_levels_that_there_are_not(narrow, out_indices):
    with pytest.raises(ConfigError, match=r'out_indices: expected levels of 0\.\.5'):
        narrow(out_indices=out_indices)


def test_there_are_no_official_weights():
    with pytest.raises(ConfigError, match=r'no official weights.*b2_1\.conv_branch2a'):
        ResNet38(pretrained=True)


def test_registered():
    with torch.device('meta'):
        assert isinstance(MODELS.build(dict(type='ResNet38')), ResNet38)


def test_mistyped_argument():
    with pytest.raises(TypeError, match='unexpected keyword argument'):
        ResNet38(norm_freeze=True)
