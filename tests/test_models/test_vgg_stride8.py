"""VGG16 at stride 8 against torchvision's, and RCA's learning rates on it."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from model_builders import images
from torch import nn
from torchvision.models import vgg16

from mmwsss.models.backbones import VGGStride8
from mmwsss.models.heads import CAMHead
from mmwsss.registry import MODELS
from mmwsss.utils.errors import CheckpointError

SCHEDULE = Path(__file__).parents[2] / 'configs/_base_/schedules/rca_30e.py'
CONVOLUTIONS = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
"""Of torchvision's ``features``; 4, 9, 16, 23 and 30 are pools."""
DOWNLOAD = 'torchvision.models._api.load_state_dict_from_url'


@pytest.fixture(scope='module')
def stock():
    """torchvision's VGG16, its classifier without memory."""
    with torch.device('meta'):
        network = vgg16(weights=None)
    features = network.features.to_empty(device='cpu')
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in features.parameters():
            weight.copy_(0.05 * torch.randn(weight.shape, generator=generator))
    return network.eval()


@pytest.fixture(scope='module')
def official(stock):
    """The state dict; a classifier of one stored number a tensor."""
    return {
        key: torch.zeros(1) if value.is_meta else value
        for key, value in stock.state_dict().items()
    }


@pytest.fixture
def weights(tmp_path, official):
    path = tmp_path / 'vgg16.pth'
    torch.save(official, path)
    return str(path)


def dilated(stock):
    """Modify torchvision's stack by hand: pool4 keeps the size, conv5 is dilated."""
    layers = list(stock.features)[:30]
    layers[23] = nn.MaxPool2d(3, stride=1, padding=1)
    for index in (24, 26, 28):
        old = layers[index]
        layers[index] = nn.Conv2d(512, 512, 3, padding=2, dilation=2)
        layers[index].load_state_dict(old.state_dict())
    return nn.Sequential(*layers).eval()


def test_368_pixels_give_46():
    with torch.device('meta'):
        network = VGGStride8()
        (features,) = network(torch.zeros(2, 3, 368, 368))
    assert features.shape == (2, 512, 46, 46)


def test_weights_in_torchvisions_names(stock, weights):
    network = VGGStride8(pretrained=weights).eval()
    network.init_weights()
    (found,) = network(batch := images(2, 64, 40))
    expected = dilated(stock)(batch)
    assert found.shape == (2, 512, 8, 5)
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(network.features.parameters(), stock.features.parameters()):
        assert torch.equal(ours, theirs)


def test_the_first_four_stages_are_torchvisions_own(stock, weights):
    network = VGGStride8(pretrained=weights).eval()
    network.init_weights()
    batch = images(1, 32, 48)
    end = network.range_sub_modules[3][1] - 1
    found = network.features[:end](batch)
    torch.testing.assert_close(found, stock.features[:23](batch), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('wrap', [lambda s: s, lambda s: dict(state_dict=s, meta={})])
def test_weights_in_own_names(tmp_path, wrap):
    first, second = VGGStride8(), VGGStride8(pretrained=str(tmp_path / 'own.pth'))
    torch.save(wrap(first.state_dict()), tmp_path / 'own.pth')
    second.init_weights()
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_official_weights(monkeypatch, stock, official):
    asked = []
    monkeypatch.setattr(DOWNLOAD, lambda url, **_: asked.append(url) or official)
    network = VGGStride8(pretrained=True)
    assert asked == [], 'building needs no network'
    network.init_weights()
    assert len(asked) == 1 and 'vgg16-397923af' in asked[0]
    assert torch.equal(network.features[0].conv.weight, stock.features[0].weight)


def test_without_network_the_remedy_is_named(monkeypatch):
    def refuse(url, check_hash):
        raise OSError('Network is unreachable')

    monkeypatch.setattr(DOWNLOAD, refuse)
    with pytest.raises(CheckpointError) as caught:
        VGGStride8(pretrained=True).init_weights()
    for part in ('VGG16', 'the hub', 'unreachable', 'set pretrained to the file'):
        assert part in str(caught.value)


def without_a_layer(state):
    return {key: value for key, value in state.items() if 'features.28' not in key}


def of_another_width(state):
    return state | {'features.0.weight': torch.zeros(32, 3, 3, 3)}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (without_a_layer, "expected 26 tensors .* found 24; .*torchvision's vgg16"),
        (lambda state: {'layer1.weight': torch.zeros(2)}, 'expected 26 .* found 0'),
        (of_another_width, r'vgg16\.pth .*size mismatch for features\.0'),
    ],
)
def test_weights_of_another_network(tmp_path, official, change, message):
    path = tmp_path / 'vgg16.pth'
    torch.save(change(official), path)
    network = VGGStride8(pretrained=str(path))
    with pytest.raises(CheckpointError, match=f'(?s){message}'):
        network.init_weights()


def test_missing_file(tmp_path):
    network = VGGStride8(pretrained=str(tmp_path / 'none.pth'))
    with pytest.raises(CheckpointError, match=r'no checkpoint at .*none\.pth'):
        network.init_weights()


def test_every_parameter_receives_a_gradient():
    network = VGGStride8().train()
    network(images(1, 32, 32))[0].square().mean().backward()
    assert all(weight.grad is not None for weight in network.parameters())
    assert network.eval() is network and network.train() is network


def test_frozen_stages():
    network = VGGStride8(frozen_stages=2).train()
    frozen = {n for n, weight in network.named_parameters() if not weight.requires_grad}
    assert {name.split('.')[1] for name in frozen} == {'0', '1', '3', '4'}


def test_registered():
    with torch.device('meta'):
        assert isinstance(MODELS.build(dict(type='VGGStride8')), VGGStride8)


@pytest.mark.parametrize('name', ['depth', 'with_last_pool', 'dilations'])
def test_what_makes_the_stride_is_fixed(name):
    with pytest.raises(TypeError, match='unexpected keyword argument'):
        VGGStride8(**{name: 1})


@pytest.fixture
def schedule():
    with DefaultScope.overwrite_default_scope('mmwsss'):
        yield Config.fromfile(SCHEDULE)


def network_and_head():
    with torch.device('meta'):
        head = CAMHead(512, 20)
        return nn.ModuleDict(
            dict(backbone=VGGStride8(), coarse_head=head, head=CAMHead(512, 20))
        )


def test_learning_rates(schedule):
    model = network_and_head()
    optimizer = build_optim_wrapper(model, schedule.optim_wrapper).optimizer
    rates = {id(g['params'][0]): g['lr'] for g in optimizer.param_groups}
    assert len(rates) == len(list(model.parameters())) == 2 * (13 + 4 + 4)
    for name, weight in model.named_parameters():
        expected = 1e-3 if name.startswith('backbone') else 1e-2
        if name.endswith('bias'):
            expected *= 2
        assert rates[id(weight)] == pytest.approx(expected), name
    counted = Counter(round(g['lr'], 6) for g in optimizer.param_groups)
    assert counted == {1e-3: 13, 2e-3: 13, 1e-2: 8, 2e-2: 8}
    for group in optimizer.param_groups:
        found = group['momentum'], group['nesterov'], group['weight_decay']
        assert found == (0.9, True, 5e-4)


def test_learning_rate_falls_at_epochs_5_and_10(schedule):
    optimizer = build_optim_wrapper(
        network_and_head(), schedule.optim_wrapper
    ).optimizer
    (settings,) = schedule.param_scheduler
    scheduler = PARAM_SCHEDULERS.build(dict(settings, optimizer=optimizer))
    factors = []
    for _ in range(schedule.train_cfg.max_epochs):
        factors.append(optimizer.param_groups[0]['lr'] / 1e-3)
        scheduler.step()
    assert factors == pytest.approx([1] * 5 + [0.1] * 5 + [0.01] * 20)
