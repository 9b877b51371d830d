"""Attention and its consistency against loops, and their gradients."""

import math

import pytest
import torch

from mmwsss.functional.attention import (
    DISTANCES,
    attend_with_head_mean,
    attention_consistency,
    attention_divergence,
    attention_probabilities,
    feature_affinity,
    recomputed_attend,
    spread_along_attention,
)

B, H, N, D, SCALE = 2, 3, 4, 5, 0.7


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def qkv():
    return [random(B, H, N, D, seed=s).requires_grad_() for s in range(3)]


def probabilities_by_loops(query, key, scale):
    out = torch.zeros(*query.shape[:3], key.shape[2], dtype=torch.float64)
    for b, h, i in torch.cartesian_prod(*map(torch.arange, query.shape[:3])).tolist():
        scores = [
            scale * sum(query[b, h, i, d].item() * row[d].item() for d in range(D))
            for row in key[b, h]
        ]
        total = sum(math.exp(score) for score in scores)
        for j, score in enumerate(scores):
            out[b, h, i, j] = math.exp(score) / total
    return out


def test_probabilities_equal_loops_also_for_fewer_queries():
    query, key = random(B, H, 2, D), random(B, H, N, D, seed=1)
    got = attention_probabilities(query, key, scale=SCALE)
    torch.testing.assert_close(
        got, probabilities_by_loops(query, key, SCALE), rtol=1e-12, atol=0
    )


@pytest.fixture(params=[attend_with_head_mean, recomputed_attend])
def attend(request):
    """Each way that a device may take."""
    return request.param


def test_output_and_head_mean_equal_loops(qkv, attend):
    output, mean = attend(*qkv, scale=SCALE)
    attention = probabilities_by_loops(qkv[0], qkv[1], SCALE)
    want_output, want_mean = torch.zeros_like(output), torch.zeros_like(mean)
    for b in range(B):
        for i in range(N):
            for j in range(N):
                for h in range(H):
                    want_mean[b, i, j] += attention[b, h, i, j] / H
                    want_output[b, h, i] += attention[b, h, i, j] * qkv[2][b, h, j]
    torch.testing.assert_close(output, want_output, rtol=0, atol=1e-12)
    torch.testing.assert_close(mean, want_mean, rtol=0, atol=1e-12)


def test_gradients_pass_gradcheck(qkv, attend):
    assert torch.autograd.gradcheck(lambda *parts: attend(*parts, scale=SCALE), qkv)


def plain(query, key, value):
    attention = torch.softmax(SCALE * query @ key.mT, -1)
    return attention @ value, attention.mean(1)


def test_gradients_equal_autograd_without_recomputation(qkv, attend):
    weights = random(B, H, N, D, seed=7), random(B, N, N, seed=8)

    def gradients(function):
        output, mean = function(*qkv)
        return torch.autograd.grad(
            (output * weights[0]).sum() + (mean * weights[1]).sum(), qkv
        )

    recomputed = gradients(lambda *parts: attend(*parts, scale=SCALE))
    for got, want in zip(recomputed, gradients(plain)):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


def test_per_head_matrices_are_not_kept_for_the_backward_pass(qkv, attend):
    saved = []

    def pack(tensor):
        saved.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        attend(*qkv, scale=SCALE)
    assert (B, H, N, N) not in saved


def test_only_key_and_value_need_gradients(qkv, attend):
    query, key, value = qkv
    frozen = query.detach()
    output, mean = attend(frozen, key, value, scale=SCALE)
    loss = output.square().sum() + mean.square().sum()
    got = torch.autograd.grad(loss, (key, value))
    output, mean = attend(query, key, value, scale=SCALE)
    loss = output.square().sum() + mean.square().sum()
    for one, two in zip(got, torch.autograd.grad(loss, (key, value))):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize('wide', [0, 2, 7])
def test_fewer_queries_and_values_of_another_width(qkv, attend, wide):
    query, key, value = (part.detach() for part in qkv)
    value = value.repeat(1, 1, 1, 2)[..., :wide]
    output, mean = attend(query[:, :, 1:], key, value, scale=SCALE)
    want_output, want_mean = plain(query[:, :, 1:], key, value)
    torch.testing.assert_close(output, want_output)
    torch.testing.assert_close(mean, want_mean)


@pytest.mark.parametrize('kind', [torch.bfloat16, torch.float32])
def test_under_autocast_the_mean_stays_in_float32(qkv, kind):
    parts = [part.detach().float() for part in qkv]
    parts[0] = parts[0].to(kind)  # a norm of queries leaves them in another type
    with torch.autocast('cpu', torch.bfloat16):
        output, mean = attend_with_head_mean(*parts, scale=SCALE)
    assert (output.dtype, mean.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(mean.sum(-1), torch.ones(B, N))
    want_output, want_mean = plain(*(part.float() for part in parts))
    torch.testing.assert_close(mean, want_mean, rtol=0, atol=0.02)
    torch.testing.assert_close(output.float(), want_output, rtol=0, atol=0.05)


def test_maps_spread_along_attention_equal_loops(qkv):
    query, key = (part.detach() for part in qkv[:2])
    attention = probabilities_by_loops(query, key, SCALE)
    maps = 1e-6 * random(B, 13, N - 1, seed=5)  # more maps than keys are wide
    got = spread_along_attention(maps, query[:, :, 1:], key, scale=SCALE)
    want = torch.zeros_like(maps)
    for b, k, i in torch.cartesian_prod(*map(torch.arange, maps.shape)).tolist():
        for h in range(H):
            row = attention[b, h, i + 1, 1:]
            want[b, k, i] += (row * maps[b, k]).sum() / H
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-18)


def test_no_map_and_a_map_of_zeros_are_spread(qkv):
    query, key = (part.detach() for part in qkv[:2])
    for classes in (0, 2):
        maps = torch.zeros(B, classes, N - 1, dtype=torch.float64)
        got = spread_along_attention(maps, query[:, :, 1:], key, scale=SCALE)
        assert torch.equal(got, maps)


def test_maps_of_other_shapes(qkv):
    query, key = (part.detach() for part in qkv[:2])
    maps = torch.zeros(B, 2, N - 1)
    with pytest.raises(ValueError, match='query: expected shape'):
        spread_along_attention(maps, query, key, scale=1.0)
    with pytest.raises(ValueError, match='key: expected shape'):
        spread_along_attention(maps, query[:, :, 1:], key[:, :, 1:], scale=1.0)


def test_attention_of_other_shapes():
    query = torch.zeros(B, H, N, D)
    with pytest.raises(ValueError, match=r'query: expected shape \(B, H, M, D\)'):
        attend_with_head_mean(query[0], query, query, scale=1.0)
    with pytest.raises(ValueError, match='key: expected shape'):
        attend_with_head_mean(query, query[:, :, :, 1:], query, scale=1.0)
    with pytest.raises(ValueError, match='value: expected shape'):
        attend_with_head_mean(query, query, query[:, :, 1:], scale=1.0)


DISTANCE = {
    'l1': lambda a, b: abs(a - b),
    'l2': lambda a, b: (a - b) ** 2,
    'smooth_l1': lambda a, b: (
        0.5 * (a - b) ** 2 if abs(a - b) < 1 else abs(a - b) - 0.5
    ),
}


def consistency_by_loops(first, second, distance):
    sums, counts = [0.0, 0.0], [0, 0]
    for one, two in zip(first, second):
        for b in range(one.shape[0]):
            for i in range(one.shape[1]):
                for j in range(1, one.shape[1]):
                    kind = 0 if i == 0 else 1
                    pair = one[b, i, j].item(), two[b, i, j].item()
                    sums[kind] += DISTANCE[distance](*pair)
                    counts[kind] += 1
    return [total / count for total, count in zip(sums, counts)]


@pytest.fixture
def blocks():
    first = [3 * random(B, N, N, seed=s) for s in range(3)]
    return first, [3 * random(B, N, N, seed=s + 10) for s in range(3)]


def test_three_distances():
    assert set(DISTANCES) == set(DISTANCE)


@pytest.mark.parametrize('distance', DISTANCE)
def test_consistency_equals_loops(blocks, distance):
    got = attention_consistency(*blocks, distance=distance)
    want = consistency_by_loops(*blocks, distance)
    assert [loss.item() for loss in got] == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize('distance', DISTANCE)
def test_gradients_of_consistency(blocks, distance):
    tensors = [tensor.requires_grad_() for part in blocks for tensor in part]
    assert torch.autograd.gradcheck(
        lambda *t: attention_consistency(t[:3], t[3:], distance=distance), tensors
    )


def test_equal_attention_is_consistent(blocks):
    losses = attention_consistency(blocks[0], blocks[0])
    assert [loss.item() for loss in losses] == [0, 0]


def test_the_column_of_the_class_token_does_not_count():
    one, two = torch.zeros(2, 1, 3, 3)
    two[:, :, 0] = 1.0
    losses = attention_consistency([one], [two])
    assert [loss.item() for loss in losses] == [0, 0]


def test_consistency_refuses(blocks):
    first, second = blocks
    with pytest.raises(ValueError, match="distance: expected one of .*'l1'.* 'cosine'"):
        attention_consistency(first, second, distance='cosine')
    with pytest.raises(ValueError, match='blocks: got 3 of one view, 2 of two'):
        attention_consistency(first, second[:2])
    with pytest.raises(ValueError, match='blocks: got 0'):
        attention_consistency([], [])
    with pytest.raises(ValueError, match=r'first: expected shape \(B, N, N\)'):
        attention_consistency([first[0][:, 1:]], [second[0]])
    with pytest.raises(ValueError, match='second: expected shape'):
        attention_consistency([first[0]], [second[0][:1]])


def affinity_by_loops(features, temperature):
    count = features.shape[1]
    out = torch.zeros(len(features), count, count, dtype=torch.float64)
    for b, patches in enumerate(features.tolist()):
        lengths = [math.sqrt(sum(x * x for x in patch)) for patch in patches]
        for i, one in enumerate(patches):
            weights = [
                math.exp(
                    sum(x * y for x, y in zip(one, two))
                    / (lengths[i] * lengths[j] * temperature)
                )
                for j, two in enumerate(patches)
            ]
            for j, weight in enumerate(weights):
                out[b, i, j] = weight / sum(weights)
    return out


@pytest.mark.parametrize('temperature', [0.15, 2.0])
def test_affinity_equals_loops(temperature):
    features = random(B, N, D)
    got = feature_affinity(features, temperature=temperature)
    want = affinity_by_loops(features, temperature)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-15)


def test_affinity_by_hand():
    features = torch.tensor([[[3.0, 0.0], [0.0, 0.5], [-2.0, 0.0]]])
    got = feature_affinity(features, temperature=1.0)[0]
    e = math.e
    rows = [[e, 1, 1 / e], [1, e, 1], [1 / e, 1, e]]
    want = torch.tensor([[x / sum(row) for x in row] for row in rows])
    torch.testing.assert_close(got, want)


def test_gradients_of_affinity():
    features = random(B, N, D).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda f: feature_affinity(f, temperature=0.5), [features]
    )


def test_limits_of_affinity():
    features = random(1, N, D)
    cold = feature_affinity(features, temperature=1e-4)
    torch.testing.assert_close(cold, torch.eye(N, dtype=torch.float64)[None])
    hot = feature_affinity(features, temperature=1e9)
    torch.testing.assert_close(hot, torch.full_like(hot, 1 / N))
    scales = torch.tensor([0.1, 1.0, 7.0, 100.0], dtype=torch.float64)[:, None]
    torch.testing.assert_close(
        feature_affinity(features * scales, temperature=0.3),
        feature_affinity(features, temperature=0.3),
    )


def divergence_by_loops(target, attentions):
    total = 0.0
    for attention in attentions:
        for b in range(len(target)):
            for i in range(target.shape[1]):
                row = attention[b, 1 + i, 1:].tolist()
                for t, a in zip(target[b, i].tolist(), row):
                    total += t * math.log(t / (a / sum(row))) if t else 0.0
    return total / (len(attentions) * len(target) * target.shape[1])


@pytest.fixture
def target_and_blocks():
    target = random(B, N - 1, N - 1).softmax(-1)
    return target, [random(B, N, N, seed=s).softmax(-1) for s in range(3)]


def test_divergence_equals_loops(target_and_blocks):
    target, blocks = target_and_blocks
    target[0, 0] = torch.tensor([0.0, 0.25, 0.75])
    got = attention_divergence(target, blocks).item()
    assert got == pytest.approx(divergence_by_loops(target, blocks), rel=1e-12)
    assert got > 0.01


def test_gradients_of_divergence(target_and_blocks):
    target, blocks = target_and_blocks
    blocks = [block.requires_grad_() for block in blocks]
    assert torch.autograd.gradcheck(
        lambda *parts: attention_divergence(target, parts), blocks
    )


def test_divergence_of_the_target_itself_is_zero(target_and_blocks):
    """Whatever the class token takes and gives."""
    target, _ = target_and_blocks
    attention = random(B, N, N, seed=5).exp()
    attention[:, 1:, 1:] = 0.3 * target
    got = attention_divergence(target, [attention, attention])
    assert got.item() == pytest.approx(0, abs=1e-12)


def test_divergence_refuses_other_shapes(target_and_blocks):
    target, blocks = target_and_blocks
    with pytest.raises(ValueError, match='attention: expected shape'):
        attention_divergence(target, [blocks[0][:, 1:, 1:]])
    with pytest.raises(ValueError, match='attention: expected shape'):
        attention_divergence(target[:1], blocks)
    with pytest.raises(ValueError, match=r'features: expected shape \(B, n, D\)'):
        feature_affinity(target[0], temperature=1.0)
