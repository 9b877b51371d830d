"""Regions against loops over pixels, and the reference arrays."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mmwsss.functional.regions import masked_average, region_masks

REFERENCE = Path(__file__).parents[1] / 'data/rca_ops.npz'


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def loop_average(features, mask):
    """Sum and count in Python; None for an empty mask."""
    channels, rows, columns = features.shape
    pixels = [(y, x) for y in range(rows) for x in range(columns) if mask[y, x]]
    if not pixels:
        return None
    return [
        sum(features[d, y, x].item() for y, x in pixels) / len(pixels)
        for d in range(channels)
    ]


def test_mask_is_strictly_above_the_mean():
    maps = torch.tensor([[0.0, 1.0, 2.0, 1.0]])  # two pixels on the mean
    assert region_masks(maps).tolist() == [[False, False, True, False]]


@pytest.mark.parametrize('value', [0.0, -0.7, 3e4, 1e-3, 0.16885894536972046])
@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64])
def test_constant_map_is_empty_however_its_mean_rounds(value, dtype):
    maps = torch.full((2, 7, 9), value, dtype=dtype)
    assert not region_masks(maps).any()


def test_each_map_has_its_own_mean():
    maps = random(2, 3, 4, 5)
    got = region_masks(maps)
    for image in range(2):
        for plane in range(3):
            values = maps[image, plane].flatten().tolist()
            mean = sum(values) / len(values)
            expected = [value > mean for value in values]
            assert got[image, plane].flatten().tolist() == expected


def test_mask_of_half_precision_does_not_overflow():
    # the sum of the values exceeds what float16 can hold
    maps = torch.full((10, 10), 6e4, dtype=torch.float16)
    maps[0, 0] = 6.1e4
    assert region_masks(maps).nonzero().tolist() == [[0, 0]]


def test_no_gradient_passes_a_mask():
    assert not region_masks(random(1, 2, 2).requires_grad_()).requires_grad


def test_average_equals_a_loop_over_pixels():
    features, masks = random(2, 5, 3, 4), random(2, 4, 3, 4, seed=1) > 0.3
    masks[1, 2] = False
    means, found = masked_average(features, masks)
    for image in range(2):
        for plane in range(4):
            expected = loop_average(features[image], masks[image, plane])
            assert found[image, plane] == (expected is not None)
            got = means[image, plane].tolist()
            assert got == pytest.approx(expected or [0.0] * 5, rel=1e-12)


def test_released_features_of_the_reference():
    with np.load(REFERENCE) as file:
        masks = torch.from_numpy(file['official/region/mask']).bool()
        cam, query = (
            torch.from_numpy(file[f'input/{key}']) for key in ('cam', 'query_feature')
        )
        index, want = file['region/index'].T, file['paper/region/feature']
        tags = torch.from_numpy(file['input/label']).bool()
    softmax = region_masks(cam.softmax(1)) & tags[:, :, None, None]
    np.testing.assert_array_equal(softmax, masks)
    means, found = masked_average(query.double(), masks)
    np.testing.assert_array_equal(found, tags)
    np.testing.assert_allclose(means[tuple(index)], want, rtol=1e-9)


def test_average_gradient():
    features, masks = random(2, 3, 2, 3), random(2, 2, 2, 3, seed=1) > 0
    masks[0, 1] = False
    assert torch.autograd.gradcheck(
        lambda f: masked_average(f, masks)[0], features.requires_grad_()
    )


def test_empty_masks_leave_means_and_gradients_zero():
    features = random(1, 3, 2, 2).requires_grad_()
    means, found = masked_average(features, torch.zeros(1, 2, 2, 2).bool())
    means.sum().backward()
    assert not found.any()
    assert not means.any()
    assert not features.grad.any()


def test_full_mask_is_the_spatial_mean():
    features = random(2, 3, 4, 5)
    means, _ = masked_average(features, torch.ones(2, 1, 4, 5).bool())
    torch.testing.assert_close(means[:, 0], features.mean((2, 3)))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
    features = torch.full((1, 1, 40, 40), 100.0, dtype=dtype)
    masks = torch.ones(1, 1, 40, 40, dtype=torch.bool)
    with torch.autocast('cpu', torch.bfloat16):
        means, _ = masked_average(features, masks)
    assert means.dtype == torch.float32
    assert means.item() == 100.0


def test_wrong_shapes_and_types_are_named():
    features = random(1, 2, 3, 3)
    with pytest.raises(ValueError, match=r'features: expected shape \(B, D, H, W\)'):
        masked_average(features[0], torch.ones(1, 1, 3, 3).bool())
    with pytest.raises(ValueError, match=r'masks: expected shape \(1, C, 3, 3\)'):
        masked_average(features, torch.ones(1, 1, 3, 4).bool())
    with pytest.raises(ValueError, match=r'masks: expected bool, got torch.float32'):
        masked_average(features, torch.ones(1, 1, 3, 3))
