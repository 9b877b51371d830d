"""The warm start of attention: its value, its end, and what it teaches."""

import math

import pytest
import torch
from model_builders import images, sample, tiny_acr, tiny_vit

from mmwsss.models.backbones.attention_vit import ViTOutput
from mmwsss.models.losses.warm_start import AttentionWarmStartLoss
from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError

# Two patches at right angles, and attention that sees both alike.
EMBEDDING = torch.tensor([[[9.0, 9.0], [1.0, 0.0], [0.0, 2.0]]])
UNIFORM = torch.full((1, 3, 3), 1 / 3)
OUTPUT = ViTOutput(torch.zeros(1, 3, 2), [UNIFORM, UNIFORM], EMBEDDING)


@pytest.mark.parametrize(('weight', 'temperature'), [(1.0, 1.0), (0.1, 0.5)])
def test_weighted_divergence_by_hand(weight, temperature):
    loss = AttentionWarmStartLoss(loss_weight=weight, temperature=temperature)
    found = loss(OUTPUT)
    near = math.exp(1 / temperature) / (math.exp(1 / temperature) + 1)
    divergence = near * math.log(2 * near) + (1 - near) * math.log(2 - 2 * near)
    assert set(found) == {'loss_warm_start'}
    assert found['loss_warm_start'].item() == pytest.approx(weight * divergence)


def test_it_ends_where_it_is_told(at_iteration):
    ending, lasting = (AttentionWarmStartLoss(until=share) for share in (0.7, None))
    for step, is_on in ((0, True), (6, True), (7, False), (8, False)):
        at_iteration(step, of=10)
        assert bool(ending(OUTPUT)) == is_on
        assert lasting(OUTPUT)


@pytest.mark.parametrize('temperature', [0.0, -1.0])
def test_temperature_must_be_positive(temperature):
    with pytest.raises(ConfigError, match=f'must be positive, got {temperature}'):
        AttentionWarmStartLoss(temperature=temperature)


@pytest.mark.parametrize('until', [0.0, 1.5, 276])
def test_its_end_is_a_share(until):
    with pytest.raises(ConfigError, match=f'above 0 up to 1, got {until}'):
        AttentionWarmStartLoss(until=until)


def test_registered_and_mistyped():
    settings = dict(type='AttentionWarmStartLoss', loss_weight=0.5)
    assert MODELS.build(settings).loss_weight == 0.5
    with pytest.raises(TypeError, match='temprature'):
        MODELS.build(dict(settings, temprature=1.0))


def test_the_target_is_not_taught():
    embedding = EMBEDDING.clone().requires_grad_()
    attention = UNIFORM.clone().requires_grad_()
    output = ViTOutput(OUTPUT.tokens, [attention], embedding)
    AttentionWarmStartLoss()(output)['loss_warm_start'].backward()
    assert embedding.grad is None
    assert attention.grad[0, 1:, 1:].abs().min() > 0
    assert attention.grad[0, 0].abs().max() == attention.grad[0, :, 0].abs().max() == 0


def test_descent_informs_the_attention_of_a_transformer():
    model, loss = tiny_vit(), AttentionWarmStartLoss(temperature=0.15)
    inputs = images()
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    values = []
    for _ in range(5):
        value = loss(model(inputs))['loss_warm_start']
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.8 * values[0]


@pytest.mark.parametrize('view', [None, dict(type='DihedralView', elements=('hflip',))])
def test_classifier_adds_it_to_its_losses(view):
    samples = [sample([0]), sample([1, 2])]
    settings = dict(type='AttentionWarmStartLoss', loss_weight=0.5)
    plain = tiny_acr(view=view).loss(images(), samples)
    warm = tiny_acr(view=view, warm_start=settings).loss(images(), samples)
    assert warm.keys() - plain.keys() == {'loss_warm_start'}
    assert all(torch.equal(warm[name], plain[name]) for name in plain)
    output = tiny_acr().backbone(images())
    expected = AttentionWarmStartLoss(loss_weight=0.5)(output)['loss_warm_start']
    torch.testing.assert_close(warm['loss_warm_start'], expected)
