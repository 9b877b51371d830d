"""timm's CNNs as backbones: values, weights, and what is refused."""

import pytest
import timm
import torch
from model_builders import images, redraw
from torch import nn

from mmwsss.models.backbones import TimmCNN
from mmwsss.registry import MODELS
from mmwsss.utils.errors import CheckpointError, ConfigError

RESNET, EFFICIENTNET = 'test_resnet', 'test_efficientnet'
"""Small ones that timm keeps for its own tests; the first renames its layers."""


def stock_of(name, **args):
    return redraw(timm.create_model(name, features_only=True, **args), scale=0.2)


@pytest.mark.parametrize('name', [RESNET, EFFICIENTNET, 'tf_efficientnet_lite0'])
@pytest.mark.parametrize(
    'settings', [{}, dict(output_stride=8), dict(out_indices=(1, -1))]
)
def test_maps_equal_timms(name, settings):
    args = dict(settings, out_indices=settings.get('out_indices', (-1,)))
    stock = stock_of(name, **args)
    ours = TimmCNN(name, **settings).eval()
    ours.cnn.load_state_dict(stock.state_dict())
    batch = images(2, 64, 96)
    with torch.no_grad():
        found, expected = ours(batch), stock(batch)
    assert isinstance(found, tuple) and len(found) == len(expected)
    for level, other, width, stride in zip(
        found, expected, ours.channels, ours.strides
    ):
        torch.testing.assert_close(level, other)
        assert level.shape == (2, width, 64 // stride, 96 // stride)
    assert ours.strides[-1] == settings.get('output_stride', 32)


def test_dilation_keeps_the_weights_and_what_they_see():
    """At stride 16 every second place of the map is one of the map at stride 32."""
    coarse, fine = TimmCNN(RESNET).eval(), TimmCNN(RESNET, output_stride=16).eval()
    fine.load_state_dict(redraw(coarse, scale=0.2).state_dict())
    batch = images(1, 64, 64)
    (small,), (large,) = coarse(batch), fine(batch)
    torch.testing.assert_close(large[..., ::2, ::2], small, rtol=1e-4, atol=1e-5)


def test_further_arguments_reach_timm():
    network = TimmCNN(RESNET, args=dict(act_layer='elu'))
    assert any(isinstance(module, nn.ELU) for module in network.modules())


@pytest.mark.parametrize(
    ('name', 'settings'),
    [
        (RESNET, {}),
        (RESNET, dict(out_indices=(1,))),
        (RESNET, dict(norm_eval=True)),
        ('mobilenetv3_small_050', dict(out_indices=(1, 3))),
        ('tf_efficientnet_lite0', dict(output_stride=16)),
    ],
)
def test_every_parameter_receives_a_gradient(name, settings):
    network = TimmCNN(name, **settings).train()
    maps = network(images(2, 64, 64))
    torch.stack([level.square().sum() for level in maps]).sum().backward()
    trained = [(n, p.grad) for n, p in network.named_parameters() if p.requires_grad]
    assert [n for n, gradient in trained if gradient is None] == []
    assert trained


def test_only_what_no_level_needs_is_frozen():
    network = TimmCNN('mobilenetv3_small_050', out_indices=(3,))
    frozen = [name for name, p in network.named_parameters() if not p.requires_grad]
    assert {name[: len('cnn.blocks.4')] for name in frozen} == {
        'cnn.blocks.4',
        'cnn.blocks.5',
    }
    assert network.cnn.training


@pytest.mark.parametrize('norm_eval', [False, True])
def test_running_statistics(norm_eval):
    network = TimmCNN(RESNET, norm_eval=norm_eval)
    before = {k: v.clone() for k, v in network.named_buffers() if 'running' in k}
    assert network.train() is network
    network(images(2, 64, 64))
    after = dict(network.named_buffers())
    changed = [key for key in before if not torch.equal(before[key], after[key])]
    assert changed == ([] if norm_eval else list(before))


def write_weights(path, name, **args):
    model = redraw(timm.create_model(name, **args), seed=3)
    torch.save(model.state_dict(), path)
    return model.state_dict()


@pytest.mark.parametrize('name', [RESNET, EFFICIENTNET])
@pytest.mark.parametrize('classes', [1000, 7])
def test_weights_from_a_file(tmp_path, name, classes):
    path = tmp_path / 'weights.pth'
    expected = write_weights(path, name, num_classes=classes)
    network = TimmCNN(name, output_stride=16, pretrained=str(path))
    assert not torch.equal(first_weight(network), next(iter(expected.values())))
    network.init_weights()
    flat = {key.replace('.', '_'): value for key, value in expected.items()}
    for key, value in network.cnn.state_dict().items():
        assert torch.equal(value, flat[key.replace('.', '_')]), key


def first_weight(network):
    return next(iter(network.cnn.state_dict().values()))


def test_loading_leaves_the_global_generator_as_without_the_check(tmp_path):
    write_weights(tmp_path / 'weights.pth', RESNET)
    network = TimmCNN(RESNET, pretrained=str(tmp_path / 'weights.pth'))
    torch.manual_seed(5)
    network.init_weights()
    found = torch.rand(3)
    torch.manual_seed(5)
    timm.create_model(RESNET, features_only=True, out_indices=[-1])
    assert torch.equal(found, torch.rand(3))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda s: {k: v for k, v in s.items() if 'layer3' not in k}, 'lacks .*layer3'),
        (lambda s: {f'net.{key}': value for key, value in s.items()}, 'lacks'),
        (lambda s: s | {'layer1.0.conv1.weight': torch.zeros(2)}, 'size mismatch'),
    ],
)
def test_weights_of_another_network(tmp_path, change, message):
    path = tmp_path / 'weights.pth'
    torch.save(change(write_weights(path, RESNET)), path)
    network = TimmCNN(RESNET, pretrained=str(path))
    with pytest.raises(CheckpointError, match=f'(?s){message}') as caught:
        network.init_weights()
    assert RESNET in str(caught.value) and str(path) in str(caught.value)


def test_weights_that_are_no_state_dict(tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save([1, 2], path)
    network = TimmCNN(RESNET, pretrained=str(path))
    with pytest.raises(CheckpointError, match=f'{path} holds a list, not a checkpoint'):
        network.init_weights()


@pytest.mark.parametrize('content', [None, b'torn'])
def test_unreadable_weights_are_named(tmp_path, content):
    path = tmp_path / 'weights.pth'
    if content is not None:
        path.write_bytes(content)
    network = TimmCNN(RESNET, pretrained=str(path))
    with pytest.raises(CheckpointError, match=r'weights\.pth'):
        network.init_weights()


def test_official_weights_are_asked_for_at_initialization_only(monkeypatch):
    create, asked = timm.create_model, []

    def refuse(name, pretrained=False, **args):
        if pretrained:
            asked.append(name)
            raise OSError('Network is unreachable')
        return create(name, pretrained=False, **args)

    monkeypatch.setattr(timm, 'create_model', refuse)
    network = TimmCNN(RESNET, pretrained=True)
    assert asked == []
    with pytest.raises(CheckpointError) as caught:
        network.init_weights()
    assert asked == [RESNET]
    for part in (RESNET, 'the hub', 'unreachable', 'set pretrained to the file'):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ('name', 'settings', 'message'),
    [
        ('resnet_colossal', {}, "timm has no model 'resnet_colossal'"),
        (RESNET, dict(output_stride=7), 'cannot be built with .*output_stride=7'),
        ('densenet121', dict(output_stride=8), "argument 'output_stride'; take off"),
        ('vgg11', dict(output_stride=8), 'cannot be built with .*output_stride=8'),
        (RESNET, dict(out_indices=(9,)), r'cannot be built with .*out_indices=\[9\]'),
        (RESNET, dict(out_indices=()), r'levels such as \(-1,\), got \(\)'),
        (RESNET, dict(out_indices=-1), r'levels such as \(-1,\), got -1'),
        (RESNET, dict(args=dict(foo=1)), "argument 'foo'; take off"),
        ('vit_tiny_patch16_224', {}, 'cannot run on images of any size.*choose a CNN'),
        (
            'swin_tiny_patch4_window7_224',
            dict(args=dict(img_size=96)),
            r'needs maps \(B, D, h, w\).*gives .*choose a CNN',
        ),
    ],
)
def test_networks_that_are_refused(name, settings, message):
    with pytest.raises(ConfigError, match=message):
        TimmCNN(name, **settings)


def test_stride_that_is_not_kept(monkeypatch):
    create = timm.create_model

    def ignore(name, output_stride=None, **args):
        return create(name, **args)

    monkeypatch.setattr(timm, 'create_model', ignore)
    with pytest.raises(ConfigError, match=r'has stride 32 although output_stride=8'):
        TimmCNN(RESNET, output_stride=8)


def test_registered_and_built_without_memory():
    with torch.device('meta'):
        network = MODELS.build(dict(type='TimmCNN', model_name='resnet50'))
    assert network.channels == (2048,) and network.strides == (32,)


def test_mistyped_argument():
    with pytest.raises(TypeError, match='unexpected keyword argument'):
        TimmCNN(RESNET, stride=8)
