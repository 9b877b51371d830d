"""Whatever is done to a model in between, it goes on as if nobody had looked."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from mmwsss.engine.undisturbed import undisturbed


def make():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)
    )
    model.register_buffer('passing', torch.zeros(2), persistent=False)
    model[2].eval()
    model(torch.randn(5, 3)).sum().backward()
    model[3].bias.grad = None
    return model


def everything(model):
    gradients = [
        (p.grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()
    ]
    return dict(
        modes=[module.training for module in model.modules()],
        gradients=gradients,
        buffers={name: (b, b.clone()) for name, b in model.named_buffers()},
        persistent=list(model.state_dict()),
        draws=(random.getstate(), np.random.get_state()[1].tolist()),
        torch=torch.get_rng_state().tolist(),
    )


def disturb(model):
    """Do all that a careless look could do."""
    model.train()
    with torch.enable_grad():
        model(torch.randn(5, 3) + 7).sum().backward()
    model.passing = torch.ones(3)
    model[1].running_mean.fill_(9)
    random.random()
    np.random.rand(3)


def same(now, before):
    for key in ('modes', 'persistent', 'draws', 'torch'):
        assert now[key] == before[key], key
    for (own, value), (kept, expected) in zip(now['gradients'], before['gradients']):
        assert own is kept
        assert value is None if expected is None else torch.equal(value, expected)
    assert now['buffers'].keys() == before['buffers'].keys()
    for name, (own, value) in now['buffers'].items():
        kept, expected = before['buffers'][name]
        assert own is kept and torch.equal(value, expected), name


def test_all_comes_back():
    model = make()
    before = everything(model)
    with undisturbed(model):
        disturb(model)
        assert everything(model)['draws'] != before['draws']
    same(everything(model), before)


def test_all_comes_back_behind_an_error():
    model = make()
    before = everything(model)
    with pytest.raises(KeyError), undisturbed(model):
        disturb(model)
        raise KeyError
    same(everything(model), before)


def test_a_look_is_an_evaluation_without_gradients():
    model = make()
    with undisturbed(model):
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
        assert all(p.grad is None for p in model.parameters())
    assert torch.is_grad_enabled()
