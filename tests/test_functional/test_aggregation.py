"""Aggregation against loops over pixels and prototypes, and the reference arrays."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from mmwsss.functional.aggregation import (
    aggregate,
    prototype_affinity,
    released_affinity,
    weighted_context,
)

REFERENCE = Path(__file__).parents[1] / 'data/rca_ops.npz'


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def case():
    """Features, prototypes and a class that is not ready."""
    return (
        random(2, 4, 3, 2),
        random(3, 2, 4, seed=1),
        torch.tensor([True, False, True]),
    )


def direction(row):
    length = math.sqrt(math.fsum(x * x for x in row))
    return [x / length for x in row]


def loop_context(pixel, prototypes, scale, unit_rows):
    """Softmax and weighted sum of one pixel, as the equations are written."""
    pixel = direction(pixel) if unit_rows else pixel
    keys = [direction(row) if unit_rows else row for row in prototypes]
    weights = [
        math.exp(scale * math.fsum(a * b for a, b in zip(pixel, key))) for key in keys
    ]
    total = math.fsum(weights)
    return [
        math.fsum(w * row[d] for w, row in zip(weights, prototypes)) / total
        for d in range(len(pixel))
    ]


@pytest.mark.parametrize('scale', [1.0, 0.5, 7.0])
@pytest.mark.parametrize('unit_rows', [False, True])
def test_context_equals_a_loop_over_pixels(scale, unit_rows):
    features, prototypes, ready = case()
    got = aggregate(features, prototypes, ready, scale=scale, unit_rows=unit_rows)
    rows = [row for own in (0, 2) for row in prototypes[own].tolist()]
    for image in range(2):
        for y in range(3):
            for x in range(2):
                pixel = features[image, :, y, x].tolist()
                expected = loop_context(pixel, rows, scale, unit_rows)
                assert got[image, :, y, x].tolist() == pytest.approx(
                    expected, rel=1e-11
                )


def test_reference_of_the_paper():
    with np.load(REFERENCE) as file:
        feature, prototypes = (
            torch.from_numpy(file[f'input/{key}']).double()
            for key in ('feature', 'prototypes')
        )
        want = {
            key: file[f'paper/aggregation/{key}'] for key in ('affinity', 'context')
        }
    ready = torch.ones(20, dtype=torch.bool)
    context = aggregate(feature, prototypes, ready)
    np.testing.assert_allclose(context, want['context'], rtol=1e-9)
    affinity = prototype_affinity(
        feature.flatten(2).mT, prototypes.flatten(0, 1), ready.repeat_interleave(3)
    )
    np.testing.assert_allclose(affinity, want['affinity'], rtol=1e-9)


@pytest.mark.parametrize('unit_rows', [False, True])
def test_gradients(unit_rows):
    features, prototypes, ready = case()
    assert torch.autograd.gradcheck(
        lambda f, q: aggregate(f, q, ready, scale=0.7, unit_rows=unit_rows),
        (features.requires_grad_(), prototypes.requires_grad_()),
    )


def test_unready_classes_count_for_nothing():
    features, prototypes, ready = case()
    other = prototypes.clone()
    other[1] = 1e6
    assert torch.equal(
        aggregate(features, other, ready), aggregate(features, prototypes, ready)
    )


def test_without_a_ready_class_context_and_gradient_are_zero():
    features, prototypes, ready = case()
    features.requires_grad_()
    context = aggregate(features, prototypes, ready & False)
    context.sum().backward()
    assert not context.any()
    assert not features.grad.any()


def test_equal_prototypes_are_the_context():
    features, prototypes, ready = case()
    same = prototypes[:1, :1].expand_as(prototypes)
    context = aggregate(features, same, ready)
    torch.testing.assert_close(
        context, same[0, 0][None, :, None, None].expand_as(context)
    )


def test_large_scale_picks_the_nearest_direction():
    features, prototypes, ready = case()
    context = aggregate(features, prototypes, ready, scale=1e4, unit_rows=True)
    rows = prototypes[ready].flatten(0, 1)
    units = rows / rows.norm(dim=1, keepdim=True)
    nearest = torch.einsum('bdhw,md->bhwm', features, units).argmax(3)
    torch.testing.assert_close(context, rows[nearest].permute(0, 3, 1, 2))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite_and_keeps_its_type(dtype):
    # the products exceed what float16 can hold
    features = torch.full((1, 64, 1, 1), 60.0, dtype=dtype, requires_grad=True)
    prototypes = torch.stack((torch.full((1, 64), 60.0), torch.full((1, 64), 59.0)))
    with torch.autocast('cpu', torch.bfloat16):
        context = aggregate(features, prototypes, torch.ones(2).bool())
    context.sum().backward()
    assert context.dtype == dtype
    assert context.unique().tolist() == [60.0]
    assert torch.isfinite(features.grad).all()


def test_released_affinity_has_no_softmax():
    query, key = random(2, 5, 4), random(6, 4, seed=1)
    got = released_affinity(query, key, num_classes=3, num_prototypes=2)
    for image in range(2):
        for pixel in range(5):
            for row in range(6):
                product = math.fsum(
                    (query[image, pixel, d] * key[row, d]).item() for d in range(4)
                )
                assert got[image, pixel, row].item() == pytest.approx(product * 3 / 2)


def test_context_is_laid_out_row_major():
    affinity = torch.eye(6, dtype=torch.float64)[None]
    values = random(6, 2)
    context = weighted_context(affinity, values, (2, 3))
    for y in range(2):
        for x in range(3):
            assert torch.equal(context[0, :, y, x], values[3 * y + x])


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(features=random(4, 3, 2)), r'features: expected shape \(B, D, H, W\)'),
        (dict(prototypes=random(3, 2, 5)), r'prototypes: expected shape \(C, P, 4\)'),
        (dict(ready=torch.ones(2).bool()), r'ready: expected shape \(3\)'),
        (dict(ready=torch.ones(3)), 'ready: expected bool, got torch.float32'),
    ],
)
def test_wrong_arguments_of_aggregate(changes, message):
    arguments = dict(zip(('features', 'prototypes', 'ready'), case()))
    with pytest.raises(ValueError, match=message):
        aggregate(**(arguments | changes))


def test_wrong_shapes_of_the_parts():
    query, key = random(1, 6, 4), random(3, 4)
    with pytest.raises(ValueError, match=r'key: expected shape \(M, 4\)'):
        prototype_affinity(query, key[:, 1:], torch.ones(3).bool())
    with pytest.raises(ValueError, match=r'query: expected shape \(B, N, D\)'):
        released_affinity(query[0], key, num_classes=3, num_prototypes=1)
    with pytest.raises(ValueError, match=r'affinity: expected shape \(B, 4, M\)'):
        weighted_context(query, key, (2, 2))
    with pytest.raises(ValueError, match=r'values: expected shape \(4, D\)'):
        weighted_context(query, key, (2, 3))
