"""Localization maps against loops over heads, patches and pixels in float64."""

import re

import numpy as np
import pytest
import torch

from mmwsss.functional import localization


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def loop_block_map(gradient, attention, kind):
    heads, size = gradient.shape
    result = []
    for patch in range(size):
        plain = weighted = 0.0
        for head in range(heads):
            g, a = gradient[head, patch].item(), attention[head, patch].item()
            plain += max(g, 0.0) / heads
            weighted += max(g * a, 0.0) / heads
        result.append(
            {
                'grad': plain,
                'grad_s': plain**2,
                'cam_grad': weighted,
                'cam_grad_s': weighted * plain,
            }[kind]
        )
    return result


@pytest.mark.parametrize('kind', localization.BLOCK_MAP_KINDS)
def test_block_map_equals_a_loop_over_heads(kind):
    gradient, attention = random(2, 3, 5), random(2, 3, 5, seed=1).softmax(-1)
    got = localization.block_map(gradient, attention, kind)
    for image in range(2):
        expected = loop_block_map(gradient[image], attention[image], kind)
        np.testing.assert_allclose(got[image], expected, rtol=1e-12)


def test_block_map_of_negative_gradients_is_zero():
    gradient, attention = -random(3, 5).abs(), random(3, 5, seed=1).softmax(-1)
    for kind in localization.BLOCK_MAP_KINDS:
        assert not localization.block_map(gradient, attention, kind).any()


@pytest.mark.parametrize('kind', localization.BLOCK_MAP_KINDS)
def test_block_map_gradient(kind):
    gradient, attention = random(3, 4), random(3, 4, seed=1).softmax(-1)
    inputs = (gradient.requires_grad_(), attention.requires_grad_())
    assert torch.autograd.gradcheck(
        lambda g, a: localization.block_map(g, a, kind), inputs
    )


def test_unknown_kind_is_named():
    with pytest.raises(ValueError, match="got 'gradcam'"):
        localization.block_map(random(1, 2), random(1, 2), 'gradcam')


def test_affinity_row_receives():
    maps, affinity = random(2, 3, 4), random(2, 4, 4, seed=1)
    got = localization.refine_with_affinity(maps, affinity)
    for image in range(2):
        for plane in range(3):
            for row in range(4):
                expected = sum(
                    affinity[image, row, column].item() * maps[image, plane, column]
                    for column in range(4)
                )
                assert got[image, plane, row].item() == pytest.approx(expected.item())


def test_identity_affinity_changes_nothing():
    maps = random(1, 3, 4)
    identity = torch.eye(4, dtype=torch.float64)[None]
    assert torch.equal(localization.refine_with_affinity(maps, identity), maps)


def test_affinity_gradient():
    inputs = (random(1, 2, 3).requires_grad_(), random(1, 3, 3).requires_grad_())
    assert torch.autograd.gradcheck(localization.refine_with_affinity, inputs)


@pytest.mark.parametrize(
    ('maps', 'affinity', 'message'),
    [
        ((3, 4), (1, 4, 4), 'maps: expected shape (B, K, n)'),
        ((1, 3, 4), (1, 4, 5), 'affinity: expected shape (1, 4, 4)'),
        ((2, 3, 4), (1, 4, 4), 'affinity: expected shape (2, 4, 4)'),
    ],
)
def test_affinity_of_another_shape_is_named(maps, affinity, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        localization.refine_with_affinity(random(*maps), random(*affinity))


def test_min_max_is_of_each_map_alone():
    maps = random(2, 3, 4, 5)
    got = localization.min_max_normalize(maps, eps=1e-3)
    for image in range(2):
        for plane in range(3):
            values = maps[image, plane].flatten().tolist()
            low, high = min(values), max(values)
            expected = [(value - low) / (high - low + 1e-3) for value in values]
            np.testing.assert_allclose(got[image, plane].flatten(), expected)


def test_min_max_of_a_constant_map_is_zero():
    assert not localization.min_max_normalize(torch.full((1, 3, 3), 7.0)).any()


def source_position(index, old, new, align_corners):
    """Where an output pixel lies on the input grid, in input pixels."""
    if align_corners:
        return index * (old - 1) / (new - 1) if new > 1 else 0.0
    return min(max((index + 0.5) * old / new - 0.5, 0.0), old - 1.0)


def loop_bilinear(plane, size, align_corners):
    """Bilinear interpolation of one map, pixel by pixel."""
    old = plane.shape
    result = np.zeros(size)
    for row in range(size[0]):
        y = source_position(row, old[0], size[0], align_corners)
        top = min(int(y), old[0] - 1)
        bottom = min(top + 1, old[0] - 1)
        for column in range(size[1]):
            x = source_position(column, old[1], size[1], align_corners)
            left = min(int(x), old[1] - 1)
            right = min(left + 1, old[1] - 1)
            upper = plane[top, left] * (1 - x + left) + plane[top, right] * (x - left)
            lower = plane[bottom, left] * (1 - x + left)
            lower += plane[bottom, right] * (x - left)
            result[row, column] = upper * (1 - y + top) + lower * (y - top)
    return result


def loop_to_image(plane, input_shape, img_shape, ori_shape, align_corners):
    if img_shape != input_shape:
        plane = loop_bilinear(plane, input_shape, align_corners)
        plane = plane[: img_shape[0], : img_shape[1]]
    plane = loop_bilinear(plane, ori_shape, align_corners)
    return (plane - plane.min()) / (plane.max() - plane.min() + 1e-6)


@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize('img_shape', [(16, 20), (16, 13), (11, 20), (9, 8)])
def test_maps_to_image_equals_a_loop_over_pixels(img_shape, align_corners):
    maps = random(2, 4, 5)
    sizes = dict(input_shape=(16, 20), img_shape=img_shape, ori_shape=(14, 23))
    got = localization.maps_to_image(maps, **sizes, align_corners=align_corners)
    assert got.shape == (2, 14, 23)
    for plane, result in zip(maps.numpy(), got):
        expected = loop_to_image(plane, **sizes, align_corners=align_corners)
        np.testing.assert_allclose(result, expected, atol=1e-12)


def test_padding_does_not_reach_the_image():
    maps = torch.zeros(1, 4, 4, dtype=torch.float64)
    maps[0, 0, 0], maps[0, 3, 3] = 1.0, 1000.0
    sizes = dict(input_shape=(8, 8), img_shape=(4, 4), ori_shape=(4, 4))
    got = localization.maps_to_image(maps, **sizes, align_corners=False)
    assert got[0, 0, 0].item() == pytest.approx(1, abs=1e-5)
    assert got[0].argmax().item() == 0


def test_image_without_maps_has_none():
    sizes = dict(input_shape=(8, 8), img_shape=(8, 8), ori_shape=(5, 6))
    got = localization.maps_to_image(torch.zeros(0, 2, 2), **sizes, align_corners=True)
    assert got.shape == (0, 5, 6)


def test_sizes_are_checked():
    sizes = dict(ori_shape=(4, 4), align_corners=False)
    message = 'img_shape (9, 8) exceeds input_shape (8, 8)'
    with pytest.raises(ValueError, match=re.escape(message)):
        localization.maps_to_image(
            torch.zeros(1, 2, 2), input_shape=(8, 8), img_shape=(9, 8), **sizes
        )
    with pytest.raises(ValueError, match='maps: expected shape'):
        localization.maps_to_image(
            torch.zeros(2, 2), input_shape=(8, 8), img_shape=(8, 8), **sizes
        )
