"""Values at the edge of their number formats: finite results, by float64, or an error.

The edge of single functions is in their own tests; here is what runs through several,
and what half precision does to guards and sums.
"""

import math

import numpy as np
import pytest
import torch

from mmwsss.functional.accumulation import quantize_maps
from mmwsss.functional.affinity_pairs import PairTargets, pair_affinity_loss
from mmwsss.functional.attention import (
    attend_with_head_mean,
    attention_divergence,
    feature_affinity,
)
from mmwsss.functional.boundary_affinity import displacement_losses
from mmwsss.functional.contrast import info_nce, mixup_nce
from mmwsss.functional.localization import max_normalize, min_max_normalize
from mmwsss.functional.regions import region_masks

HALF = [torch.float16, torch.bfloat16]
LARGEST = torch.finfo(torch.float16).max
dtypes = pytest.mark.parametrize('dtype', [*HALF, torch.float32])
halves = pytest.mark.parametrize('dtype', HALF)


def finite(*tensors):
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


@dtypes
@pytest.mark.parametrize('value', [0.0, 1e-7, -3.0, LARGEST])
def test_maps_of_one_value_become_zero(dtype, value):
    maps = torch.full((2, 3, 4), value, dtype=dtype)
    assert min_max_normalize(maps).unique().tolist() == [0.0]
    positive = max_normalize(-maps.abs()), quantize_maps(-maps.abs())
    assert [part.unique().tolist() for part in positive] == [[0.0], [0]]


@dtypes
def test_maps_that_span_all_of_half_precision(dtype):
    maps = torch.tensor([[[-LARGEST, 0.0, LARGEST / 2, LARGEST]]]).to(dtype)
    exact = maps.double().numpy()
    low, high = exact.min(), exact.max()
    np.testing.assert_allclose(
        min_max_normalize(maps), (exact - low) / (high - low), rtol=1e-6
    )
    np.testing.assert_allclose(
        max_normalize(maps), np.maximum(exact, 0) / high, rtol=1e-6
    )


@dtypes
def test_no_map_at_all(dtype):
    none = torch.zeros(0, 3, 4, dtype=dtype)
    for normalize in (min_max_normalize, max_normalize, quantize_maps):
        assert normalize(none).shape == none.shape


@pytest.mark.parametrize('shape', [(2, 0, 4), (2, 3, 0)])
@pytest.mark.parametrize(
    'function', [min_max_normalize, max_normalize, quantize_maps, region_masks]
)
def test_maps_without_a_pixel_are_refused(function, shape):
    with pytest.raises(ValueError, match='maps: expected at least one pixel, got shap'):
        function(torch.zeros(shape))


@halves
@pytest.mark.parametrize('temperature', [0.07, 1e-3])
def test_contrast_of_the_largest_features(dtype, temperature):
    """Their lengths and products exceed half precision by far; directions count."""
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(4, 16, generator=generator).sign() * LARGEST / 2
    bank = torch.randn(3, 5, 16, generator=generator).to(dtype)
    queries = queries.to(dtype).requires_grad_()
    classes, valid = torch.tensor([0, 1, 2, 0]), torch.ones(3, 5, dtype=torch.bool)
    got = info_nce(queries, classes, bank, valid, temperature=temperature)
    got.sum().backward()
    assert finite(got, queries.grad)
    for query, own, loss in zip(queries.detach().double(), classes, got):
        units = [[row / row.norm() for row in rows] for rows in bank.double()]
        cosines = [[float(query @ row / query.norm()) for row in r] for r in units]
        others = [c for i, row in enumerate(cosines) for c in row if i != own]
        # log(1 + sum of exp((n - p) / tau)), the largest exponent taken out
        terms = []
        for positive in cosines[own]:
            shifted = [0.0, *((n - positive) / temperature for n in others)]
            top = max(shifted)
            terms.append(top + math.log(sum(math.exp(s - top) for s in shifted)))
        assert loss.item() == pytest.approx(sum(terms) / len(terms), rel=1e-3, abs=1e-3)


def test_opposite_regions_mix_to_no_direction():
    region = torch.tensor([[3.0, 4.0]], requires_grad=True)
    bank, valid = torch.eye(2)[:, None], torch.ones(2, 1, dtype=torch.bool)
    own, other = torch.tensor([0]), torch.tensor([1])
    half = torch.tensor([0.5])
    loss = mixup_nce(region, own, -region, other, half, bank, valid)
    loss.sum().backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert finite(region.grad)


@pytest.mark.parametrize('length', [1e-30, 1e30])
def test_features_whose_squares_are_beyond_float32(length):
    queries = torch.full((1, 4), length, requires_grad=True)
    bank, valid = length * torch.eye(4)[:2, None], torch.ones(2, 1, dtype=torch.bool)
    loss = info_nce(queries, torch.tensor([0]), bank, valid)
    loss.sum().backward()
    assert loss.item() == pytest.approx(math.log(2), rel=1e-5)
    assert finite(queries.grad)


@dtypes
def test_patches_without_a_direction_resemble_all_alike(dtype):
    features = torch.zeros(1, 3, 4, dtype=dtype)
    features[0, 0] = LARGEST
    affinity = feature_affinity(features, temperature=0.07)
    alike = torch.full((2, 3), 1 / 3)
    torch.testing.assert_close(affinity[0, 1:].float(), alike, rtol=1e-2, atol=0)
    # of itself the cosine is 1, of the others 0
    own = math.exp(1 / 0.07) / (math.exp(1 / 0.07) + 2)
    assert affinity[0, 0, 0].item() == pytest.approx(own, rel=1e-2)


def test_divergence_from_attention_that_has_vanished():
    """Logits so far apart that the softmax of the small ones is 0 in float32."""
    logits = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, -300.0], [300.0, 0.0, 0.0]])
    logits = logits[None].requires_grad_()
    target = torch.full((1, 2, 2), 0.5)
    loss = attention_divergence(target, [logits.softmax(-1)])
    loss.backward()
    assert finite(loss, logits.grad)
    # the first row's patches have 0.5 and nothing, the second row's are alike
    tiny = torch.finfo(torch.float32).tiny
    wanted = (0.5 * math.log(0.5) + 0.5 * math.log(0.5 / (2 * tiny))) / 2
    assert loss.item() == pytest.approx(wanted, rel=1e-3)


@halves
def test_attention_as_sharp_as_half_precision_allows(dtype):
    query = torch.zeros(1, 1, 3, 2, dtype=dtype)
    query[..., 0, 0] = 100.0
    query = query.requires_grad_()
    output, mean = attend_with_head_mean(query, query, query, scale=1.0)
    (output.float().sum() + mean.square().sum()).backward()
    assert finite(output, mean, query.grad)
    torch.testing.assert_close(mean.sum(-1), torch.ones(1, 3))
    assert mean[0, 0].tolist() == [1.0, 0.0, 0.0]


@halves
def test_sums_over_many_pairs_do_not_overflow(dtype):
    shape = (1, 8, 128, 128)
    affinity = torch.zeros(shape, dtype=dtype, requires_grad=True)
    every, none = torch.ones(shape, dtype=torch.bool), torch.zeros(shape).bool()
    loss = pair_affinity_loss(affinity, PairTargets(every, none, none))
    loss.backward()
    # -log(1e-5) of each, a quarter of it
    assert loss.item() == pytest.approx(-math.log(1e-5) / 4, rel=1e-3)
    assert finite(affinity.grad)
    field = torch.full((1, 2, 128, 128), 100.0, dtype=dtype, requires_grad=True)
    targets = PairTargets(every[:, :1], every[:, :1], none[:, :1])
    losses = displacement_losses(field, targets, [(0, 1)])
    sum(losses).backward()
    # the last column has no neighbour, which counts as 0
    assert losses.background.item() == pytest.approx(200 / 128, rel=1e-3)
    assert losses.foreground.item() == pytest.approx((127 + 201) / 128, rel=1e-2)
    assert finite(field.grad)


def test_labels_without_a_pair():
    shape = (2, 4, 3, 3)
    affinity = torch.rand(shape, requires_grad=True)
    none = torch.zeros(shape, dtype=torch.bool)
    loss = pair_affinity_loss(affinity, PairTargets(none, none, none))
    loss.backward()
    assert loss.item() == 0 and not affinity.grad.any()
