"""Attention worked off in blocks against all heads at once."""

import pytest
import torch

from mmwsss.functional import blocked_attention
from mmwsss.functional.blocked_attention import blocked_attend_with_head_mean

SCALE = 0.7
SHAPE = dict(batch=3, heads=5, rows=3, columns=4, width=6, value_width=2)


def random(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def qkv():
    s = SHAPE
    query = random(s['batch'], s['heads'], s['rows'], s['width'], seed=0)
    key = random(s['batch'], s['heads'], s['columns'], s['width'], seed=1)
    value = random(s['batch'], s['heads'], s['columns'], s['value_width'], seed=2)
    return [part.requires_grad_() for part in (query, key, value)]


@pytest.fixture(params=[0, 1, 2, 3, 5, 9, 10], ids='{} heads a block'.format)
def block(request, monkeypatch):
    size = SHAPE['rows'] * SHAPE['columns'] * torch.float64.itemsize
    monkeypatch.setattr(blocked_attention, 'BLOCK_BYTES', request.param * size)


def attend(query, key, value):
    return blocked_attend_with_head_mean(query, key, value, scale=SCALE)


def plain(query, key, value):
    scores = SCALE * torch.einsum('bhid,bhjd->bhij', query, key)
    attention = scores.exp() / scores.exp().sum(-1, keepdim=True)
    return attention @ value, attention.mean(1)


def close(got, want):
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


def test_every_block_size_gives_the_plain_result(qkv, block):
    for got, want in zip(attend(*qkv), plain(*qkv)):
        close(got, want)


def test_every_block_size_gives_the_plain_gradients(qkv, block):
    output, mean = plain(*qkv)
    weights = torch.randn_like(output), torch.randn_like(mean)
    want = torch.autograd.grad([output, mean], qkv, weights)
    for got, expected in zip(torch.autograd.grad(attend(*qkv), qkv, weights), want):
        close(got, expected)


@pytest.mark.parametrize('used', [0, 1], ids=['output', 'mean'])
def test_gradient_of_one_result_alone(qkv, used):
    gradients = [
        torch.autograd.grad(way(*qkv)[used].square().sum(), qkv, materialize_grads=True)
        for way in (attend, plain)
    ]
    for got, want in zip(*gradients):
        close(got, want)


def test_gradcheck(qkv):
    assert torch.autograd.gradcheck(attend, qkv)


def test_a_second_derivative_is_refused(qkv):
    output, mean = attend(*qkv)
    (gradient,) = torch.autograd.grad(
        output.sum() + mean.square().sum(), qkv[0], create_graph=True
    )
    with pytest.raises(RuntimeError, match='once_differentiable'):
        gradient.sum().backward()


def test_heads_of_the_output_join_without_a_copy(qkv):
    output, _ = attend(*qkv)
    assert output.transpose(1, 2).is_contiguous()


def test_half_precision_keeps_softmax_and_mean_exact(qkv):
    half = [part.detach().bfloat16() for part in qkv]
    output, mean = attend(*half)
    assert (output.dtype, mean.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(mean.sum(-1), torch.ones(mean.shape[:-1]))
    want, _ = plain(*(part.float() for part in half))
    torch.testing.assert_close(output.float(), want, rtol=0, atol=0.03)


def test_gradients_in_half_precision_keep_their_type(qkv):
    half = [part.detach().bfloat16().requires_grad_() for part in qkv]
    output, mean = attend(*half)
    got = torch.autograd.grad(output.float().sum() + mean.square().sum(), half)
    output, mean = plain(*qkv)
    want = torch.autograd.grad(output.sum() + mean.square().sum(), qkv)
    for one, two in zip(got, want):
        assert one.dtype == torch.bfloat16
        torch.testing.assert_close(one.double(), two, rtol=0.1, atol=0.02)
