"""PAMR against loops over pixels and neighbours in float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmwsss.functional.refinement import pamr as module
from mmwsss.functional.refinement.pamr import (
    DILATIONS,
    pamr,
    pamr_affinity,
    propagate,
)


def offsets(dilations):
    steps = (-1, 0, 1)
    return [(d * y, d * x) for d in dilations for y in steps for x in steps if y or x]


def at(plane, row, column):
    """Read a pixel; outside, the nearest one of the border."""
    height, width = plane.shape
    return plane[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]


def weights_by_loops(image, dilations, width=0.1, eps=1e-8):
    around = offsets(dilations)
    weights = np.zeros((len(around), *image.shape[1:]))
    for row, column in np.ndindex(image.shape[1:]):
        kappa = np.zeros(len(around))
        for plane in image:
            own = plane[row, column]
            others = [at(plane, row + y, column + x) for y, x in around]
            deviation = np.std([*others, *[own] * len(dilations)], ddof=1)
            kappa -= np.abs(np.array(others) - own) / (width * deviation + eps)
        likeness = np.exp(kappa / len(image))
        weights[:, row, column] = likeness / likeness.sum()
    return weights


def refined_by_loops(maps, image, dilations, iterations):
    weights = weights_by_loops(image, dilations)
    for _ in range(iterations):
        before, maps = maps, np.zeros_like(maps)
        for place in np.ndindex(maps.shape):
            plane, row, column = before[place[0]], *place[1:]
            for weight, (y, x) in zip(weights[:, row, column], offsets(dilations)):
                maps[place] += weight * at(plane, row + y, column + x)
    return maps


def arrays(height, width, *, planes=2, seed=0):
    random = np.random.default_rng(seed)
    return random.random((planes, height, width)), random.random((3, height, width))


@pytest.mark.parametrize('dilations', [(1,), (1, 3), (2, 7)])
@pytest.mark.parametrize('size', [(5, 6), (1, 4)])
def test_weights_are_those_of_the_equations(dilations, size):
    _, image = arrays(*size)
    found = pamr_affinity(torch.from_numpy(image), dilations)
    expected = weights_by_loops(image, dilations)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(found.sum(0), np.ones(size), rtol=1e-12)


def test_settings_reach_the_weights():
    _, image = arrays(4, 4)
    settings = dict(width=0.5, eps=0.2)
    found = pamr_affinity(torch.from_numpy(image), (1, 2), **settings)
    expected = weights_by_loops(image, (1, 2), **settings)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_refined_maps_are_those_of_the_equations():
    maps, image = arrays(6, 9)
    found = pamr(
        torch.from_numpy(maps), torch.from_numpy(image), (1, 2, 4), iterations=3
    )
    expected = refined_by_loops(maps, image, (1, 2, 4), 3)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)


def test_defaults_in_single_precision():
    """Ten iterations at dilations 1, 2, 4, 8, 12 and 24, beyond the image's size."""
    maps, image = arrays(7, 8, planes=1)
    found = pamr(torch.from_numpy(maps).float(), torch.from_numpy(image).float())
    expected = refined_by_loops(maps, image, (1, 2, 4, 8, 12, 24), 10)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-5)
    assert DILATIONS == (1, 2, 4, 8, 12, 24)


@pytest.mark.parametrize('values', [1, 40, 1 << 20])
def test_bands_of_any_height_give_the_same(values, monkeypatch):
    maps, image = arrays(9, 7)
    expected = refined_by_loops(maps, image, (1, 3), 2)
    monkeypatch.setattr(module, 'BAND', values)
    found = pamr(torch.from_numpy(maps), torch.from_numpy(image), (1, 3), iterations=2)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)


def test_size_of_photographs_in_single_precision():
    """Equal to the equations read one after the other in double precision."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.rand(shape, generator=generator, dtype=torch.float64)
    # as of photographs: 256 levels, a region without any variation
    image = (255 * F.interpolate(draw(1, 3, 45, 60), (90, 120))).round() / 255
    image[..., 50:, :] = 0.5
    maps = F.interpolate(draw(1, 4, 7, 9), (90, 120), mode='bilinear')[0]
    found = pamr(maps.float(), image[0].float())
    torch.testing.assert_close(
        found.double(), refined_at_once(maps, image[0]), rtol=0, atol=1e-5
    )


def refined_at_once(maps, image, width=0.1, eps=1e-8):
    """All neighbours of all pixels gathered by their coordinates."""
    height, size = image.shape[1:]
    rows, columns = torch.meshgrid(
        torch.arange(height), torch.arange(size), indexing='ij'
    )
    places = torch.stack(
        [
            (rows + y).clamp(0, height - 1) * size + (columns + x).clamp(0, size - 1)
            for y, x in offsets(DILATIONS)
        ]
    )
    gather = lambda planes: planes.flatten(1)[:, places]
    others, own = gather(image), image[:, None]
    windows = torch.cat([others, own.expand(-1, len(DILATIONS), -1, -1)], 1)
    kappa = (others - own).abs() / (width * windows.std(1, keepdim=True) + eps)
    weights = (-kappa.mean(0)).softmax(0)
    for _ in range(10):
        maps = (weights * gather(maps)).sum(1)
    return maps


def test_threads_do_not_change_a_bit():
    generator = torch.Generator().manual_seed(0)
    maps, image = (torch.rand(n, 123, 161, generator=generator) for n in (4, 3))
    threads, found = torch.get_num_threads(), []
    for number in (1, 2):
        torch.set_num_threads(number)
        found.append(pamr(maps, image, (1, 3), iterations=1))
    torch.set_num_threads(threads)
    assert torch.equal(*found)


def test_batch_is_refined_image_by_image():
    first, second = arrays(6, 9), arrays(6, 9, seed=1)
    maps, images = (
        torch.from_numpy(np.stack(pair)) for pair in zip(first, second, strict=True)
    )
    found = pamr(maps, images, (1, 2, 4), iterations=3)
    expected = [refined_by_loops(*pair, (1, 2, 4), 3) for pair in (first, second)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)
    weights = pamr_affinity(images, (1, 2, 4))
    torch.testing.assert_close(weights[1], pamr_affinity(images[1], (1, 2, 4)))
    joint = propagate(maps, weights, (1, 2, 4), iterations=3)
    torch.testing.assert_close(joint, found)


def test_maps_stop_at_edges():
    """A soft map becomes two plateaus, one a region, with the mean of each."""
    image = torch.zeros(3, 12, 16)
    image[:, :, 9:] = 0.8
    soft = torch.linspace(0, 1, 16).expand(1, 12, 16)
    refined = pamr(soft, image, iterations=60)
    assert float(refined[..., :9].std()) < 0.005
    assert float(refined[..., 9:].std()) < 0.005
    assert float(refined[..., 9:].mean() - refined[..., :9].mean()) > 0.4


def test_contrast_and_range_do_not_matter():
    _, image = arrays(6, 6)
    image = torch.from_numpy(image)
    expected = pamr_affinity(image, (1, 2))
    found = pamr_affinity(200 * image + 7, (1, 2))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-9)


def test_even_image_averages_and_even_plane_stays():
    maps, image = (torch.from_numpy(array) for array in arrays(6, 6))
    weights = pamr_affinity(torch.ones(3, 6, 6), (1, 2))
    torch.testing.assert_close(weights, torch.full((16, 6, 6), 1 / 16))
    even = torch.full((1, 6, 6), 0.4, dtype=torch.float64)
    torch.testing.assert_close(pamr(even, image), even)
    joint = pamr(torch.cat([maps, even]), image)
    torch.testing.assert_close(joint[:2], pamr(maps, image))


def test_maps_given_are_not_changed():
    maps, image = (torch.from_numpy(array) for array in arrays(5, 5))
    before = maps.clone()
    affinity = pamr_affinity(image, (1,))
    assert torch.equal(propagate(maps, affinity, (1,), iterations=0), before)
    propagate(maps, affinity, (1,), iterations=2)
    assert torch.equal(maps, before)


def test_gradients():
    maps, image = (torch.from_numpy(array) for array in arrays(3, 4))
    inputs = maps.requires_grad_(), image.requires_grad_()
    refine = lambda maps, image: pamr(maps, image, (1, 2), iterations=2)
    assert torch.autograd.gradcheck(refine, inputs)


@pytest.mark.parametrize(
    ('maps', 'image', 'dilations', 'message'),
    [
        ((2, 5, 5), (3, 5, 6), (1,), r'maps: expected shape \(K, 5, 6\), got \(2, 5'),
        ((5, 5), (3, 5, 5), (1,), r'maps: expected shape \(K, 5, 5\), got \(5, 5\)'),
        ((2, 2, 5, 5), (3, 3, 5, 5), (1,), r'maps: expected shape \(3, K, 5, 5\)'),
        ((2, 5, 5), (3, 5, 5), (1, 0), r'dilations: expected some, >= 1, got \(1, 0\)'),
        ((2, 5, 5), (3, 5, 5), (), r'dilations: expected some, >= 1, got \(\)'),
    ],
)
def test_parts_that_do_not_fit(maps, image, dilations, message):
    with pytest.raises(ValueError, match=message):
        pamr(torch.zeros(maps), torch.zeros(image), dilations)


def test_shapes_of_the_steps():
    with pytest.raises(ValueError, match=r'image: expected shape \(C, H, W\)'):
        pamr_affinity(torch.zeros(5, 5))
    with pytest.raises(ValueError, match=r'affinity: expected shape \(16, 5, 5\)'):
        propagate(torch.zeros(1, 5, 5), torch.zeros(8, 5, 5), (1, 2))
