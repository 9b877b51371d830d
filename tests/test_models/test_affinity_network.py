"""What networks of affinity share, on ones whose affinities are known beforehand."""

import math

import numpy as np
import pytest
import torch
from mmengine.model import BaseModule
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from model_builders import images
from torch import nn

from mmwsss.functional.affinity_pairs import half_disc_offsets
from mmwsss.functional.refinement.random_walk import random_walk
from mmwsss.models.affinity import AffinityNetwork
from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError, DataError

IGNORED = 255


@MODELS.register_module(force=True)
class NoFeatures(BaseModule):
    """A backbone of one number."""

    def __init__(self):
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(()))

    def forward(self, inputs):
        return (self.logit.expand(1, 1, 1, 1),)


class EvenNetwork(AffinityNetwork):
    """The same affinity for all pairs, one half at first."""

    def __init__(self, *, stride=2, **settings):
        super().__init__(backbone=dict(type='NoFeatures'), stride=stride, **settings)

    def pair_affinity(self, images, offsets):
        grid = [math.ceil(side / self.stride) for side in images.shape[2:]]
        value = self.backbone(images)[0].sigmoid()
        return value.expand(len(images), len(offsets), *grid)


def sample(labels, **metainfo):
    made = SegDataSample(metainfo=metainfo)
    made.gt_sem_seg = PixelData(data=torch.as_tensor(labels)[None])
    return made


def halves(height=8, width=8):
    """A label of background on the left and class 3 on the right."""
    label = np.zeros((height, width), np.int64)
    label[:, width // 2 :] = 3
    return label


def test_loss_of_a_known_affinity():
    """All three kinds occur, each with the mean of its one value."""
    model = EvenNetwork(radius=2)
    with torch.no_grad():
        model.backbone.logit.fill_(math.log(0.8 / 0.2))
    losses = model(images(1, 8, 8), [sample(halves())], 'loss')
    expected = -0.5 * math.log(0.8) - 0.5 * math.log(0.2)
    assert losses.keys() == {'loss_affinity'}
    assert float(losses['loss_affinity']) == pytest.approx(expected, rel=1e-4)


def test_training_radius_reaches_the_loss_alone():
    model = EvenNetwork(radius=5, test_radius=3, stride=1)
    assert model.train_offsets == half_disc_offsets(5)
    assert model.offsets == half_disc_offsets(3)
    assert model.affinity(images(1, 4, 4)).shape == (1, 12, 4, 4)
    # the two labels are four cells apart
    label = np.full((1, 9), IGNORED)
    label[0, [0, 4]] = 0, 3
    found = [
        EvenNetwork(radius=r, stride=1).loss(images(1, 1, 9), [sample(label)])
        for r in (4, 5)
    ]
    near, far = (float(losses['loss_affinity']) for losses in found)
    assert (near, far) == (0, pytest.approx(0.5 * math.log(2), rel=1e-4))


def test_one_radius_serves_both():
    model = EvenNetwork(radius=4)
    assert model.offsets == model.train_offsets == half_disc_offsets(4)


@pytest.mark.parametrize('mode', ['predict', 'tensor'])
def test_affinities_in_other_modes(mode):
    model, batch = EvenNetwork(radius=3), images(2, 6, 10)
    found = model(batch, None, mode)
    assert torch.equal(found, torch.full((2, 12, 3, 5), 0.5))


def test_labels_on_the_grid_with_padding():
    """Images of 8 by 10, labels of 8 by 8 and 7 by 6: the rest is undecided."""
    small = np.full((7, 6), 5)
    model = EvenNetwork(stride=4)
    found = model.grid_labels(images(2, 8, 10), [sample(halves()), sample(small)])
    assert found.tolist() == [
        [[0, 3, IGNORED], [0, 3, IGNORED]],
        [[5, IGNORED, IGNORED], [5, IGNORED, IGNORED]],
    ]


def test_another_label_of_undecided_pixels():
    model = EvenNetwork(stride=2, ignore_index=9)
    found = model.grid_labels(images(1, 2, 6), [sample(np.full((2, 4), 9))])
    assert found.tolist() == [[[9, 9, 9]]]
    targets = model.targets(images(1, 2, 6), [sample(np.full((2, 4), 9))])
    assert not any(bool(mask.any()) for mask in targets)


def test_labels_of_eight_bits():
    label = sample(halves().astype(np.uint8))
    found = EvenNetwork(stride=4).grid_labels(images(1, 8, 8), [label])
    assert found.tolist() == [[[0, 3], [0, 3]]]


def test_undecided_images_leave_every_parameter_a_gradient():
    """Distributed training waits for all of them."""
    model = EvenNetwork()
    label = np.full((8, 8), IGNORED)
    model(images(1, 8, 8), [sample(label)], 'loss')['loss_affinity'].backward()
    assert float(model.backbone.logit.grad) == 0


def test_training_moves_the_affinity_towards_the_labels():
    """Without a pair of two labels all belongs together."""
    model = EvenNetwork(radius=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=5.0)
    for _ in range(20):
        optimizer.zero_grad()
        losses = model(images(1, 8, 8), [sample(np.zeros((8, 8), np.int64))], 'loss')
        losses['loss_affinity'].backward()
        optimizer.step()
    assert float(model.affinity(images(1, 8, 8)).min()) > 0.9


def test_planes_walk_on_the_grid_of_the_image():
    """Padding of the network's input does not matter."""
    model, planes = EvenNetwork(radius=3), torch.rand(2, 7, 9)
    settings = dict(exponent=2, steps=9)
    with torch.no_grad():
        walked = model.refine_planes(planes, images(1, 8, 16), **settings)
    cells = torch.zeros(2, 4, 5)
    for y, x in np.ndindex(4, 5):
        cell = planes[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
        cells[:, y, x] = cell.flatten(1).mean(1)
    affinity = torch.full((12, 4, 5), 0.5)
    expected = random_walk(cells, affinity, half_disc_offsets(3), **settings)
    torch.testing.assert_close(walked, expected)


def test_sample_without_a_label():
    without = SegDataSample(metainfo=dict(img_path='a.jpg'))
    with pytest.raises(DataError, match=r'^a\.jpg: .* put LoadMask into train_data'):
        EvenNetwork().loss(images(1, 8, 8), [without])


@pytest.mark.parametrize('size', [(9, 8), (8, 9)])
def test_label_beyond_the_image(size):
    label = sample(np.zeros(size, np.int64), img_path='a.jpg')
    message = rf'^a\.jpg: the label is \({size[0]}, {size[1]}\), the image \(8, 8\)'
    with pytest.raises(DataError, match=message):
        EvenNetwork().loss(images(1, 8, 8), [label])


def test_unknown_mode():
    with pytest.raises(ConfigError, match="'predict' or 'tensor', got 'test'"):
        EvenNetwork()(images(1, 8, 8), None, 'test')


@pytest.mark.parametrize(
    'settings', [dict(stride=0), dict(radius=1), dict(test_radius=0.5)]
)
def test_numbers_that_are_not_usable(settings):
    with pytest.raises(ConfigError, match='expected stride >= 1, radius > 1 and'):
        EvenNetwork(**settings)
