"""The short way to the class token's gradients against the long one, in float64."""

import pytest
import torch
from model_builders import ARCH, CLASSES, DEPTH, images, redraw, tiny_vit
from plain_attention import plain_forward, plain_gradients
from torch import nn

from mmwsss.models.backbones.class_token_gradients import class_token_gradients
from mmwsss.models.backbones.patch_affinity import ReplayedAffinity, SummedAffinity
from mmwsss.utils.errors import ConfigError

CHOSEN = torch.tensor([[0, 3, 4], [2, 2, 1]])
ALL_STARTS = range(DEPTH)
both_ways = pytest.mark.parametrize('affinity', [SummedAffinity, ReplayedAffinity])


@pytest.fixture(scope='module')
def model():
    head = redraw(nn.Linear(ARCH['embed_dim'], CLASSES), seed=4)
    return tiny_vit().double(), head.double()


def compute(model, batch, start_block, chosen=CHOSEN, affinity=SummedAffinity):
    vit, head = model
    return class_token_gradients(
        vit,
        batch,
        head,
        lambda _: chosen,
        start_block=start_block,
        affinity=affinity(),
    )


def close(got, want):
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-13)


def matrix(affinity, like):
    """The affinity (B, n, n) that the object stands for."""
    patches = like.shape[-1]
    basis = torch.eye(patches, dtype=like.dtype).expand(len(like), -1, -1)
    return affinity.spread(basis).mT


@both_ways
@pytest.mark.parametrize('start', ALL_STARTS)
@pytest.mark.parametrize('size', [(64, 64), (32, 80)])
def test_rows_equal_plain_autograd(model, start, size, affinity):
    batch = images(2, *size, dtype=torch.float64)
    found = compute(model, batch, start, affinity=affinity)
    assert len(found.gradients) == len(found.attentions) == DEPTH - start
    for image in range(2):
        for k, index in enumerate(CHOSEN[image].tolist()):
            gradients, attentions = plain_gradients(*model, batch[image], index)
            for t in range(start, DEPTH):
                row = found.gradients[t - start][image, k]
                close(row, gradients[t][:, 0, 1:])
                close(found.attentions[t - start][image, 0], attentions[t][:, 0, 1:])
    assert max(g.abs().max() for g in found.gradients) > 1e-3


@both_ways
@pytest.mark.parametrize('start', ALL_STARTS)
def test_logits_and_affinity_equal_the_plain_pass(model, start, affinity):
    batch = images(dtype=torch.float64)
    found = compute(model, batch, start, affinity=affinity)
    logits, attentions = plain_forward(*model, batch)
    close(found.logits, logits.detach())
    want = sum(attention.mean(1)[:, 1:, 1:] for attention in attentions)
    close(matrix(found.affinity, want), want.detach())
    assert torch.equal(found.classes, CHOSEN)


@pytest.mark.parametrize('start', [0, DEPTH - 1])
def test_inside_no_grad_and_with_frozen_weights(model, start):
    batch = images(dtype=torch.float64)
    want = compute(model, batch, start)
    with torch.no_grad():
        inside = compute(model, batch, start)
    for part in model:
        part.requires_grad_(False)
    frozen = compute(model, batch, start)
    for part in model:
        part.requires_grad_(True)
    for got in (inside, frozen):
        for one, two in zip(got.gradients, want.gradients):
            close(one, two)


@pytest.mark.parametrize('start', [0, DEPTH - 2])
@both_ways
def test_nothing_carries_a_graph_and_no_weight_gets_a_gradient(model, start, affinity):
    found = compute(model, images(dtype=torch.float64), start, affinity=affinity)
    spread = found.affinity.spread(torch.ones(2, 1, 16, dtype=torch.float64))
    tensors = [found.logits, spread, *found.gradients, *found.attentions]
    assert not any(tensor.requires_grad for tensor in tensors)
    assert all(p.grad is None for part in model for p in part.parameters())


@pytest.mark.parametrize('start', ALL_STARTS)
def test_no_class_at_all(model, start):
    chosen = torch.zeros(2, 0, dtype=torch.int64)
    found = compute(model, images(dtype=torch.float64), start, chosen)
    heads, patches = ARCH['num_heads'], 16
    assert {g.shape for g in found.gradients} == {(2, 0, heads, patches)}
    assert {a.shape for a in found.attentions} == {(2, 1, heads, patches)}
    assert found.logits.shape == (2, CLASSES)


def test_classes_are_chosen_from_the_logits(model):
    vit, head = model
    batch = images(dtype=torch.float64)
    found = class_token_gradients(
        vit, batch, head, lambda logits: logits.topk(2).indices, start_block=2
    )
    assert torch.equal(found.classes, found.logits.topk(2).indices)


@pytest.mark.parametrize('start', [-1, DEPTH])
def test_no_such_block(model, start):
    with pytest.raises(ConfigError, match=rf'0\.\.3 for 4 blocks, got {start}'):
        compute(model, images(dtype=torch.float64), start)
