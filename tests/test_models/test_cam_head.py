"""The head against loops over stacks and hand-counted parameters."""

import pytest
import torch
import torch.nn.functional as F

from mmwsss.models.heads import CAMHead
from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError

CLASSES, CHANNELS, WIDTH = 4, 6, 5


def head_of(**settings):
    head = CAMHead(WIDTH, CLASSES, **dict(channels=CHANNELS) | settings).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in head.parameters():
            drawn = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
            weight.copy_(0.5 * drawn)
    return head


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, WIDTH, 7, 9, generator=generator, dtype=torch.float64)


def run_stack(features, layers):
    """Apply (weight, bias) of 3x3 layers and of the last, 1x1 one."""
    for weight, bias in layers[:-1]:
        features = F.conv2d(features, weight, bias, padding=1).clamp(min=0)
    return F.conv2d(features, *layers[-1])


def convolutions(head):
    return [m for m in head.modules() if isinstance(m, torch.nn.Conv2d)]


@pytest.mark.parametrize('num_convs', [1, 2, 3])
def test_shared_stack(features, num_convs):
    head = head_of(num_convs=num_convs)
    layers = [(m.weight, m.bias) for m in convolutions(head)]
    assert len(layers) == num_convs + 1
    maps = head(features)
    assert maps.shape == (2, CLASSES, 7, 9)
    assert maps.min() < 0, 'raw maps'
    torch.testing.assert_close(maps, run_stack(features, layers))


@pytest.mark.parametrize('num_convs', [1, 3])
def test_separate_equals_a_loop_over_classes(features, num_convs):
    head = head_of(num_convs=num_convs, separate=True)
    stacks = []
    for index in range(CLASSES):
        layers = []
        for module in convolutions(head):
            count = module.out_channels // CLASSES
            own = slice(index * count, (index + 1) * count)
            layers.append((module.weight[own], module.bias[own]))
        stacks.append(run_stack(features, layers))
    torch.testing.assert_close(head(features), torch.cat(stacks, 1))


def test_a_separate_class_has_no_weight_in_common_with_another(features):
    head = head_of(separate=True)
    gradients = torch.autograd.grad(head(features)[:, 1].sum(), list(head.parameters()))
    for gradient in gradients:
        touched = gradient.reshape(CLASSES, -1).abs().sum(1) > 0
        assert touched.tolist() == [False, True, False, False]


def test_linear_head_is_a_product(features):
    head = head_of(num_convs=0)
    expected = torch.einsum('bdhw,cd->bchw', features, head.classify.weight[..., 0, 0])
    expected = expected + head.classify.bias.view(1, -1, 1, 1)
    torch.testing.assert_close(head(features), expected)


@pytest.mark.parametrize(
    ('settings', 'count'),
    [
        (dict(), 3 * (512 * 512 * 9 + 512) + 512 * 20 + 20),
        # RCA's release: 142 of its 169.7 million parameters
        (dict(separate=True), 20 * (3 * (512 * 512 * 9 + 512) + 512 + 1)),
        (dict(num_convs=0), 512 * 20 + 20),
    ],
)
def test_parameters_on_vgg_features(settings, count):
    with torch.device('meta'):
        head = CAMHead(512, 20, **settings)
    assert sum(weight.numel() for weight in head.parameters()) == count


@pytest.mark.parametrize('separate', [False, True])
def test_every_parameter_receives_a_gradient(features, separate):
    head = head_of(separate=separate)
    head(features).square().mean().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in head.parameters())


def test_gradient_of_features():
    head = head_of(num_convs=1)
    features = torch.randn(1, WIDTH, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(head, features)


@pytest.mark.parametrize('separate', [False, True])
def test_initialization_keeps_the_scale_of_activations(separate):
    torch.manual_seed(0)
    head = CAMHead(64, 8, channels=64, separate=separate)
    head.init_weights()
    for module in head.convs[::2]:
        fan_in = module.weight[0].numel()
        expected = (2 / fan_in) ** 0.5
        assert module.weight.std().item() == pytest.approx(expected, rel=0.05)
        assert not module.bias.any()
    assert head.classify.weight.std().item() == pytest.approx(0.01, rel=0.2)
    assert not head.classify.bias.any()


def test_registered():
    head = MODELS.build(dict(type='CAMHead', in_channels=3, num_classes=2, channels=4))
    assert head(torch.zeros(1, 3, 5, 5)).shape == (1, 2, 5, 5)


def test_features_of_another_width():
    with pytest.raises(ConfigError, match=r'in_channels=5, .* 7 channels; set .*=7'):
        head_of()(torch.zeros(1, 7, 3, 3))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(in_channels=0), 'must be positive .* got 0, 2, 512, 3'),
        (dict(num_classes=0), 'must be positive'),
        (dict(channels=0), 'must be positive'),
        (dict(num_convs=-1), 'num_convs at least 0'),
        (dict(num_convs=0, separate=True), 'take off separate'),
    ],
)
def test_arguments_that_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        CAMHead(**dict(in_channels=3, num_classes=2) | settings)


def test_mistyped_argument():
    with pytest.raises(TypeError, match='unexpected keyword argument'):
        CAMHead(3, 2, num_conv=1)
