"""AffinityNet against loops in float64, and on images that it can learn."""

import math

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from model_builders import images, redraw
from refiner_networks import WIDTHS

from mmwsss.functional.affinity_pairs import half_disc_offsets
from mmwsss.models.affinity import PSANetwork
from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError

LEVELS = dict(in_channels=WIDTHS, channels=(3, 4), stride=4)


def tiny(*, backbone=None, **settings):
    backbone = dict(type='TwoLevels') | (backbone or {})
    return PSANetwork(backbone=backbone, **(LEVELS | dict(radius=3) | settings))


def elu(value):
    return value if value > 0 else math.expm1(value)


def resized(plane, size):
    """Resize a plane between the centres of its pixels, its edges repeated."""
    found = torch.zeros(size, dtype=plane.dtype)
    for y in range(size[0]):
        for x in range(size[1]):
            places, weights = [], []
            for index, side, full in zip((y, x), size, plane.shape):
                at = min(max((index + 0.5) * full / side - 0.5, 0), full - 1)
                low = min(int(at), full - 1)
                places.append((low, min(low + 1, full - 1)))
                weights.append((1 - (at - low), at - low))
            for row, share in zip(places[0], weights[0]):
                for column, part in zip(places[1], weights[1]):
                    found[y, x] += share * part * plane[row, column]
    return found


def features_by_loops(model, batch):
    maps = model.backbone(batch)
    grid = [math.ceil(side / model.stride) for side in batch.shape[2:]]
    found = torch.zeros(len(batch), 7, *grid, dtype=batch.dtype)
    for b in range(len(batch)):
        planes = []
        for conv, level in zip(model.levels, maps):
            reduced = torch.einsum('oi,ihw->ohw', conv.weight[:, :, 0, 0], level[b])
            active = reduced.clone().apply_(elu)
            planes += [resized(plane, grid) for plane in active]
        joined = torch.stack(planes)
        weight = model.join.weight[:, :, 0, 0]
        found[b] = torch.einsum('oi,ihw->ohw', weight, joined).apply_(elu)
    return found


@pytest.mark.parametrize('size', [(16, 24), (18, 13)])
@pytest.mark.parametrize('strides', [(2, 2), (4, 1)])
@torch.no_grad()
def test_features_and_affinities_by_loops(size, strides):
    model = redraw(tiny(backbone=dict(strides=strides)).double(), scale=0.5)
    batch = images(2, *size, dtype=torch.float64)
    features = features_by_loops(model, batch)
    torch.testing.assert_close(model.features(batch), features)
    found, offsets = model.affinity(batch), half_disc_offsets(3)
    assert found.shape == (2, len(offsets), *(math.ceil(side / 4) for side in size))
    assert float(found.std()) > 0.1
    height, width = found.shape[2:]
    for p, (dy, dx) in enumerate(offsets):
        for y in range(height):
            for x in range(width):
                row, column = y + dy, x + dx
                expected = torch.zeros(2, dtype=torch.float64)
                if row < height and 0 <= column < width:
                    apart = features[:, :, y, x] - features[:, :, row, column]
                    expected = (-apart.abs().mean(1)).exp()
                torch.testing.assert_close(found[:, p, y, x], expected)


def test_published_form():
    """ResNet38's conv4, conv5 and conv6 to 448 channels, pairs below five cells."""
    backbone = dict(type='ResNet38', out_indices=(2, 3, 5))
    with torch.device('meta'):
        model = PSANetwork(backbone=backbone)
        features = model.features(torch.zeros(2, 3, 448, 448))
        assert features.shape == (2, 448, 56, 56)
        assert model.affinity(torch.zeros(1, 3, 64, 72)).shape == (1, 34, 8, 9)
    shapes = [tuple(conv.weight.shape) for conv in (*model.levels, model.join)]
    assert shapes == [
        (64, 512, 1, 1),
        (128, 1024, 1, 1),
        (256, 4096, 1, 1),
        (448, 448, 1, 1),
    ]
    new = {name for name, _ in model.named_parameters() if 'backbone.' not in name}
    assert new == {*(f'levels.{i}.weight' for i in range(3)), 'join.weight'}


def test_first_weights():
    """Kaiming's normal and Glorot's uniform ones with a gain of 4."""
    torch.manual_seed(0)
    model = tiny(channels=(200, 300))
    for conv, width in zip(model.levels, WIDTHS):
        assert float(conv.weight.std()) == pytest.approx(math.sqrt(2 / width), rel=0.1)
    bound = 4 * math.sqrt(6 / (500 + 500))
    largest = float(model.join.weight.abs().max())
    assert bound * 0.999 < largest <= bound


def two_colours():
    """Noisy images, each half of its own colour, and their labels."""
    batch = 0.1 * images(4, 32, 32)
    batch[:, 0, :, 16:] += 1.5
    label = torch.zeros(1, 32, 32, dtype=torch.int64)
    label[:, :, 16:] = 2
    sample = SegDataSample()
    sample.gt_sem_seg = PixelData(data=label)
    return batch, [sample] * len(batch)


def test_learns_which_pixels_belong_together():
    torch.manual_seed(0)
    model, (batch, samples) = tiny(), two_colours()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = model(batch, samples, 'loss')['loss_affinity']
        loss.backward()
        assert all(weight.grad is not None for weight in model.parameters())
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.15 < 0.5 < losses[0]
    right = model.offsets.index((0, 1))
    affinity = model.eval().affinity(batch)[:, right]
    assert float(affinity[..., 3].max()) < 0.3
    assert float(affinity[..., [0, 1, 5, 6]].min()) > 0.7


def test_half_precision_gives_single():
    model = tiny().to(torch.bfloat16)
    assert model.affinity(images(1, 8, 8, dtype=torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize('channels', [(3,), (3, 4, 5)])
def test_levels_and_channels_disagree(channels):
    with pytest.raises(ConfigError, match='expected one number of channels and one of'):
        tiny(channels=channels)


def test_no_levels():
    with pytest.raises(ConfigError, match='expected one number of channels and one of'):
        tiny(channels=(), in_channels=())


@pytest.mark.parametrize('widths', [(5, 7), (5,)])
def test_backbone_of_other_levels(widths):
    model = tiny(in_channels=widths, channels=widths)
    with pytest.raises(ConfigError) as caught:
        model.affinity(images(1, 8, 8))
    assert str(caught.value).startswith(
        f'model.backbone gives levels of (5, 6) channels, model.in_channels is {widths}'
    )


def test_registered_and_strict():
    settings = dict(type='PSANetwork', backbone=dict(type='TwoLevels'), **LEVELS)
    model = MODELS.build(ConfigDict(settings))
    assert isinstance(model, PSANetwork)
    with pytest.raises(TypeError, match='unexpected keyword argument'):
        MODELS.build(ConfigDict(settings | dict(radious=4)))
