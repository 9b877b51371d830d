"""The regional contrast against plain loops in float64 and its limit cases."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from mmwsss.functional.contrast import (
    average_over_images,
    info_nce,
    mix_regions,
    mixup_nce,
)

REFERENCE = Path(__file__).parents[1] / 'data/rca_ops.npz'
TAU = 0.07


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def case():
    """Queries, classes, bank and a validity with holes and one class left out."""
    queries = random(5, 6)
    classes = torch.arange(5) % 4
    bank = 3 * random(4, 3, 6, seed=1)
    valid = random(4, 3, seed=2) > -0.7
    valid[:, 0] = True
    valid[2] = False
    return queries, classes, bank, valid


def cosine(one, other):
    dot = math.fsum(a * b for a, b in zip(one, other))
    lengths = (math.sqrt(math.fsum(a * a for a in row)) for row in (one, other))
    return dot / math.prod(lengths)


def loop_nce(query, own, bank, valid, temperature):
    """Equation 4 term by term, exponentials and logarithm as they are written."""
    rows = [
        (c, bank[c, s].tolist())
        for c in range(bank.shape[0])
        for s in range(bank.shape[1])
        if valid[c, s]
    ]
    similar = [(c, cosine(query.tolist(), row) / temperature) for c, row in rows]
    negative = math.fsum(math.exp(x) for c, x in similar if c != own)
    terms = [math.log(math.exp(x) + negative) - x for c, x in similar if c == own]
    return math.fsum(terms) / len(terms) if terms else 0.0


@pytest.mark.parametrize('temperature', [TAU, 0.5])
def test_info_nce_equals_a_loop_over_the_memory(temperature):
    queries, classes, bank, valid = case()
    got = info_nce(queries, classes, bank, valid, temperature=temperature)
    expected = [
        loop_nce(query, own, bank, valid, temperature)
        for query, own in zip(queries, classes.tolist())
    ]
    assert expected[2] == 0.0
    assert got.tolist() == pytest.approx(expected, rel=1e-12)


def test_temperature_is_the_papers_by_default():
    arguments = case()
    torch.testing.assert_close(
        info_nce(*arguments), info_nce(*arguments, temperature=TAU)
    )


def test_info_nce_gradient_for_queries_and_memory():
    queries, classes, bank, valid = case()
    assert torch.autograd.gradcheck(
        lambda q, b: info_nce(q, classes, b, valid, temperature=0.5),
        (queries.requires_grad_(), bank.requires_grad_()),
    )


def test_lengths_of_queries_and_memory_do_not_count():
    queries, classes, bank, valid = case()
    scales = 1 + random(4, 3, 1, seed=3).abs()
    torch.testing.assert_close(
        info_nce(7 * queries, classes, scales * bank, valid),
        info_nce(queries, classes, bank, valid),
    )


def test_invalid_slots_do_not_count():
    queries, classes, bank, valid = case()
    other = torch.where(valid[:, :, None], bank, 100 * random(*bank.shape, seed=4))
    torch.testing.assert_close(
        info_nce(queries, classes, other, valid),
        info_nce(queries, classes, bank, valid),
        rtol=0,
        atol=0,
    )


def test_class_without_a_valid_slot_has_neither_loss_nor_gradient():
    queries, classes, bank, valid = case()
    queries.requires_grad_()
    losses = info_nce(queries, classes, bank, valid)
    losses.sum().backward()
    assert losses[2] == 0
    assert not queries.grad[2].any()
    assert queries.grad[[0, 1, 3, 4]].any(1).all()


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_without_negatives_the_loss_is_zero_and_finite(dtype):
    queries, classes, bank, valid = case()
    valid[1:] = False
    queries = queries.to(dtype).requires_grad_()
    losses = info_nce(queries, classes, bank.to(dtype), valid)
    losses.sum().backward()
    assert losses.tolist() == [0.0] * len(queries)
    assert torch.isfinite(queries.grad).all()
    assert not queries.grad.any()


def test_empty_memory():
    queries, classes, _, valid = case()
    queries.requires_grad_()
    losses = info_nce(queries, classes, torch.zeros(4, 3, 6), valid & False)
    losses.sum().backward()
    assert losses.tolist() == [0.0] * len(queries)
    assert not queries.grad.any()


def test_one_class_alone():
    queries, classes, bank, valid = case()
    losses = info_nce(queries, torch.zeros_like(classes), bank[:1], valid[:1])
    assert losses.tolist() == [0.0] * len(queries)


def test_zero_query_sees_every_row_alike():
    queries, classes, bank, valid = case()
    queries = torch.zeros_like(queries).requires_grad_()
    losses = info_nce(queries, classes, bank, valid)
    losses.sum().backward()
    negatives = int(valid.sum() - valid[0].sum())
    assert losses[0].item() == pytest.approx(math.log(1 + negatives))
    assert not queries.grad.any()


def test_no_region():
    queries, classes, bank, valid = case()
    queries.requires_grad_()
    losses = info_nce(queries[:0], classes[:0], bank, valid)
    losses.sum().backward()
    assert losses.shape == (0,)
    assert not queries.grad.any()


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_hard_case_in_which_a_clamped_logarithm_fails(dtype):
    with np.load(REFERENCE) as file:
        query, bank = (
            torch.from_numpy(file[f'clamp/{key}']).to(dtype)
            for key in ('query', 'bank')
        )
        own, want = torch.tensor([int(file['clamp/class'])]), file['paper/clamp/loss']
        clamped = file['official/clamp/loss']
    valid = torch.ones(bank.shape[:2], dtype=torch.bool)
    query = query[None].requires_grad_()
    got = info_nce(query, own, bank, valid)
    got.backward()
    relative = 1e-9 if dtype == torch.float64 else 1e-5
    assert got.item() == pytest.approx(float(want), rel=relative)
    assert abs(got.item() - clamped) > 1
    assert torch.isfinite(query.grad).all()


def test_small_losses_keep_their_digits():
    # one positive along the query, one negative against it: log(1 + exp(-2 / tau))
    bank, query = torch.tensor([[[1.0]], [[-1.0]]]), torch.ones(1, 1)
    got = info_nce(query, torch.tensor([0]), bank, torch.ones(2, 1).bool())
    assert got.item() == pytest.approx(math.log1p(math.exp(-2 / TAU)), rel=1e-5, abs=0)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_contrasted_in_float32(dtype):
    queries, classes, bank, valid = case()
    half, bank = (100 * queries).to(dtype).requires_grad_(), bank.float()
    with torch.autocast('cpu', torch.bfloat16):
        got = info_nce(half, classes, bank, valid)
    got.sum().backward()
    assert got.dtype == torch.float32
    want = info_nce(half.detach().double(), classes, bank.double(), valid)
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-6)
    assert half.grad.dtype == dtype
    assert torch.isfinite(half.grad).all()


def test_mix_equals_the_formula_by_hand():
    got = mix_regions(
        torch.tensor([[4.0, 0.0], [0.0, 2.0]], dtype=torch.float64),
        torch.tensor([[0.0, 4.0], [6.0, 2.0]], dtype=torch.float64),
        torch.tensor([0.25, 0.5], dtype=torch.float64),
    )
    # (1, 3) / sqrt 10 and (3, 2) / sqrt 13
    expected = [
        [1 / math.sqrt(10), 3 / math.sqrt(10)],
        [3 / math.sqrt(13), 2 / math.sqrt(13)],
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-14)


def mixup_case():
    queries, classes, bank, valid = case()
    omega = torch.tensor([0.1, 0.5, 0.9, 0.0, 1.0], dtype=torch.float64)
    return queries, classes, queries.roll(1, 0), classes.roll(1), omega, bank, valid


def test_mixup_equals_two_loops():
    regions, classes, partners, others, omega, bank, valid = mixup_case()
    got = mixup_nce(*mixup_case())
    for row in range(len(regions)):
        share = omega[row].item()
        mixed = share * regions[row] + (1 - share) * partners[row]
        own, other = (
            loop_nce(mixed, int(c[row]), bank, valid, TAU) for c in (classes, others)
        )
        expected = share * own + (1 - share) * other
        assert got[row].item() == pytest.approx(expected, rel=1e-12)


def test_mixup_gradient_reaches_regions_and_partners():
    regions, classes, partners, others, omega, bank, valid = mixup_case()
    partners = partners.clone()
    assert torch.autograd.gradcheck(
        lambda r, p: mixup_nce(
            r, classes, p, others, omega, bank, valid, temperature=0.5
        ),
        (regions.requires_grad_(), partners.requires_grad_()),
    )


def test_share_one_is_plain_nce():
    regions, classes, partners, others, _, bank, valid = mixup_case()
    every = torch.ones(len(regions), dtype=torch.float64)
    regions = regions.requires_grad_()
    mixed = mixup_nce(regions, classes, partners, others, every, bank, valid)
    plain = info_nce(regions, classes, bank, valid)
    torch.testing.assert_close(mixed, plain, rtol=1e-14, atol=0)
    (one,), (other,) = (
        torch.autograd.grad(loss.sum(), regions, retain_graph=True)
        for loss in (mixed, plain)
    )
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_average_is_over_the_classes_of_an_image_first():
    losses = torch.tensor([1.0, 3.0, 8.0, 4.0, 5.0, 6.0], dtype=torch.float64)
    images = torch.tensor([0, 0, 3, 1, 1, 1])
    # 2, 5, nothing, 8
    total = average_over_images(losses, images, num_images=4, reduction='sum')
    assert total.item() == pytest.approx(15)
    mean = average_over_images(losses, images, num_images=4)
    assert mean.item() == pytest.approx(3.75)


def test_average_gradient_and_empty_batch():
    losses = torch.ones(3, dtype=torch.float64, requires_grad=True)
    average_over_images(losses, torch.tensor([1, 1, 0]), num_images=2).backward()
    assert losses.grad.tolist() == [0.25, 0.25, 0.5]
    none = average_over_images(losses[:0], torch.tensor([]).long(), num_images=2)
    none.backward()
    assert none.item() == 0


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(queries=torch.zeros(2)), r'queries: expected shape \(R, D\)'),
        (dict(classes=torch.zeros(3).long()), r'classes: expected shape \(5\)'),
        (dict(bank=torch.zeros(4, 3, 5)), r'bank: expected shape \(C, L, 6\)'),
        (dict(valid=torch.ones(4, 2).bool()), r'valid: expected shape \(4, 3\)'),
        (dict(valid=torch.ones(4, 3)), 'valid: expected bool, got torch.float32'),
        (dict(temperature=0.0), 'temperature: expected more than 0, got 0.0'),
        (dict(temperature=math.nan), 'temperature: expected more than 0, got nan'),
    ],
)
def test_wrong_arguments_of_info_nce(changes, message):
    arguments = dict(zip(('queries', 'classes', 'bank', 'valid'), case()))
    with pytest.raises(ValueError, match=message):
        info_nce(**(arguments | changes))


@pytest.mark.parametrize(
    ('position', 'name'),
    [(1, 'classes'), (2, 'partners'), (3, 'partner_classes'), (4, 'omega')],
)
def test_wrong_shapes_of_mixup(position, name):
    arguments = list(mixup_case())
    arguments[position] = arguments[position][:-1]
    with pytest.raises(ValueError, match=f'^{name}: expected shape'):
        mixup_nce(*arguments)


def test_wrong_arguments_of_the_average():
    losses, images = torch.zeros(2), torch.zeros(2).long()
    with pytest.raises(ValueError, match=r'images: expected shape \(2\)'):
        average_over_images(losses, images[:1], num_images=1)
    with pytest.raises(ValueError, match='num_images: expected 1 or more, got 0'):
        average_over_images(losses, images, num_images=0)
    with pytest.raises(ValueError, match="reduction: .* got 'none'"):
        average_over_images(losses, images, num_images=1, reduction='none')
