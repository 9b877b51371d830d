"""The weighted consistency loss and its ramp."""

import pytest
import torch

from mmwsss.models.losses import AttentionConsistencyLoss
from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError

# two blocks of two tokens and the class token; by hand, see the test
FIRST = [torch.zeros(1, 3, 3), torch.zeros(1, 3, 3)]
SECOND = [torch.zeros(1, 3, 3), torch.zeros(1, 3, 3)]
SECOND[0][0, 0] = torch.tensor([9.0, 0.2, 0.6])
SECOND[1][0, 2] = torch.tensor([9.0, 0.8, 0.0])


@pytest.mark.parametrize(
    ('distance', 'activation', 'affinity'),
    [
        ('l1', (0.2 + 0.6) / 4, 0.8 / 8),
        ('l2', (0.04 + 0.36) / 4, 0.64 / 8),
        ('smooth_l1', (0.04 + 0.36) / 8, 0.64 / 16),
    ],
)
def test_weighted_means_by_hand(distance, activation, affinity):
    loss = AttentionConsistencyLoss(alpha=10.0, beta=3.0, distance=distance)
    found = loss(FIRST, SECOND)
    assert set(found) == {'loss_activation', 'loss_affinity'}
    assert found['loss_activation'].item() == pytest.approx(10 * activation)
    assert found['loss_affinity'].item() == pytest.approx(3 * affinity)


def test_weights_of_the_paper_are_the_default():
    found = AttentionConsistencyLoss()(FIRST, SECOND)
    assert found['loss_activation'].item() == pytest.approx(100 * 0.2)
    assert found['loss_affinity'].item() == pytest.approx(100 * 0.1)


@pytest.mark.parametrize(
    ('at', 'share'), [(0, 0.0), (20, 0.0), (30, 0.25), (40, 0.5), (60, 1.0), (79, 1.0)]
)
def test_ramp_grows_with_the_training(at_iteration, at, share):
    at_iteration(at, of=80)
    loss = AttentionConsistencyLoss(alpha=2.0, beta=4.0, ramp=(0.25, 0.75))
    found = loss(FIRST, SECOND)
    assert found['loss_activation'].item() == pytest.approx(share * 2 * 0.2)
    assert found['loss_affinity'].item() == pytest.approx(share * 4 * 0.1)
    assert AttentionConsistencyLoss().progress(at / 80) == 1.0


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(distance='L1'), "distance: expected one of .*'l1'.* got 'L1'"),
        (dict(alpha=-1.0), 'must be >= 0, got -1.0 and 100.0'),
        (dict(beta=-2.0), 'must be >= 0, got 100.0 and -2.0'),
        (dict(ramp=(0.5, 0.5)), r'0 <= first < last <= 1, got \(0.5, 0.5\)'),
        (dict(ramp=(-0.1, 0.5)), r'0 <= first < last <= 1, got \(-0.1, 0.5\)'),
        (dict(ramp=(100, 200)), r'0 <= first < last <= 1, got \(100, 200\)'),
    ],
)
def test_values_that_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        MODELS.build(dict(type='AttentionConsistencyLoss', **settings))


def test_mistyped_argument():
    with pytest.raises(TypeError, match='weight'):
        MODELS.build(dict(type='AttentionConsistencyLoss', weight=1.0))
