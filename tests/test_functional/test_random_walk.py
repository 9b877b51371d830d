"""The walk against powers of a dense matrix."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmwsss.functional.affinity_pairs import half_disc_offsets
from mmwsss.functional.refinement.random_walk import (
    planes_from_grid,
    planes_on_grid,
    random_walk,
)


def drawn(*size, seed=0):
    return np.random.default_rng(seed).random(size)


def transition(affinity, offsets, exponent):
    """Return T (n, n) by the equations, pair by pair."""
    _, height, width = affinity.shape
    matrix = np.eye(height * width)
    for p, y, x in np.ndindex(affinity.shape):
        row, column = y + offsets[p][0], x + offsets[p][1]
        if 0 <= row < height and 0 <= column < width:
            cells = y * width + x, row * width + column
            matrix[cells] = matrix[cells[::-1]] = affinity[p, y, x] ** exponent
    return matrix / matrix.sum(1, keepdims=True)


def walked_densely(planes, affinity, offsets, exponent, steps):
    matrix = transition(affinity, offsets, exponent)
    flat = planes.reshape(len(planes), -1).T
    return (np.linalg.matrix_power(matrix, steps) @ flat).T.reshape(planes.shape)


def case(size, radius, planes=3):
    offsets = half_disc_offsets(radius)
    return drawn(planes, *size), drawn(len(offsets), *size, seed=1), offsets


def tensors(*arrays):
    return [torch.from_numpy(array) for array in arrays]


@pytest.mark.parametrize('radius', [1.5, 2, 3, 5])
@pytest.mark.parametrize('size', [(5, 8), (9, 4), (1, 6), (6, 1), (3, 3)])
@pytest.mark.parametrize('steps', [1, 7, 256])
def test_powers_of_the_dense_matrix(size, radius, steps):
    """Sides also below the radius, where offsets lead into other lines."""
    planes, affinity, offsets = case(size, radius)
    given = tensors(planes, affinity)
    found = random_walk(*given, offsets, exponent=2.5, steps=steps)
    expected = walked_densely(planes, affinity, offsets, 2.5, steps)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(given[0].numpy(), planes)


def test_eight_squarings_of_the_matrix_are_the_default():
    planes, affinity, offsets = case((4, 7), 3)
    matrix = transition(affinity, offsets, 8)
    for _ in range(8):
        matrix = matrix @ matrix
    expected = (matrix @ planes.reshape(3, -1).T).T.reshape(planes.shape)
    found = random_walk(*tensors(planes, affinity), offsets, exponent=8)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_single_precision():
    planes, affinity, offsets = case((12, 9), 5)
    found = random_walk(
        *(t.float() for t in tensors(planes, affinity)), offsets, exponent=8
    )
    assert found.dtype == torch.float32
    expected = walked_densely(planes, affinity, offsets, 8, 256)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-5)


def test_ring_of_four_cells_by_hand():
    """Cells a b / c d; a-b at 1, c-d at 1/2, exponent 2: T splits into two pairs."""
    affinity = torch.zeros(2, 2, 2)
    affinity[0] = torch.tensor([[1.0, 0.9], [0.5, 0.9]])
    planes = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    offsets = [(0, 1), (1, 0)]
    found = random_walk(planes, affinity, offsets, exponent=2, steps=1)
    torch.testing.assert_close(found, torch.tensor([[[0.5, 0.5], [0.8, 0.2]]]))


def test_no_affinity_or_no_step_changes_nothing():
    planes, affinity, offsets = case((4, 5), 3)
    planes, affinity = tensors(planes, affinity)
    alone = random_walk(planes, 0 * affinity, offsets, exponent=8, steps=40)
    assert torch.equal(alone, planes)
    assert torch.equal(
        random_walk(planes, affinity, offsets, exponent=8, steps=0), planes
    )


def test_full_affinity_ends_at_the_weighted_mean():
    """The stationary distribution of a walk is that of the degrees."""
    planes, affinity, offsets = case((4, 5), 3)
    planes, ones = tensors(planes, np.ones_like(affinity))
    found = random_walk(planes, ones, offsets, exponent=3, steps=2000)
    degrees = np.ones((4, 5))
    for y, x in np.ndindex(4, 5):
        for dy, dx in [*offsets, *((-a, -b) for a, b in offsets)]:
            degrees[y, x] += 0 <= y + dy < 4 and 0 <= x + dx < 5
    means = (planes.numpy() * degrees).sum((1, 2)) / degrees.sum()
    expected = np.broadcast_to(means[:, None, None], planes.shape)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_planes_do_not_mix_and_an_even_one_stays():
    planes, affinity, offsets = case((6, 7), 3)
    planes, affinity = tensors(planes, affinity)
    even = torch.full((1, 6, 7), 0.3, dtype=torch.float64)
    together = random_walk(
        torch.cat([planes, even]), affinity, offsets, exponent=8, steps=64
    )
    torch.testing.assert_close(together[3:], even)
    alone = random_walk(planes[1:2], affinity, offsets, exponent=8, steps=64)
    torch.testing.assert_close(together[1:2], alone, rtol=1e-13, atol=0)
    assert bool((together <= 1).all()) and bool((together >= 0).all())


def test_no_planes():
    found = random_walk(torch.zeros(0, 4, 5), torch.ones(1, 4, 5), [(0, 1)], exponent=1)
    assert found.shape == (0, 4, 5)


def test_gradients():
    planes, affinity, offsets = case((3, 4), 2, planes=2)
    inputs = [t.requires_grad_() for t in tensors(planes, affinity)]
    walk = lambda p, a: random_walk(p, a, offsets, exponent=2, steps=3)
    assert torch.autograd.gradcheck(walk, inputs)


@pytest.mark.parametrize(
    ('planes', 'affinity', 'settings', 'message'),
    [
        ((3, 4), (1, 3, 4), dict(exponent=1), r'planes: expected shape \(K, h, w\)'),
        (
            (2, 3, 4),
            (2, 3, 4),
            dict(exponent=1),
            r'affinity: expected shape \(1, 3, 4\), got \(2, 3, 4\)',
        ),
        ((2, 3, 4), (1, 3, 4), dict(exponent=0), r'expected exponent > 0 .* got 0 and'),
        (
            (2, 3, 4),
            (1, 3, 4),
            dict(exponent=1, steps=-1),
            r'steps >= 0, got 1 and -1',
        ),
    ],
)
def test_parts_that_do_not_fit(planes, affinity, settings, message):
    with pytest.raises(ValueError, match=message):
        random_walk(torch.zeros(planes), torch.zeros(affinity), [(0, 1)], **settings)


@pytest.mark.parametrize('stride', [1, 2, 4, 5])
@pytest.mark.parametrize('size', [(8, 12), (7, 9), (3, 2)])
def test_means_of_cells_by_loops(size, stride):
    planes = drawn(2, *size)
    found = planes_on_grid(torch.from_numpy(planes), stride).numpy()
    expected = np.zeros((2, *(math.ceil(side / stride) for side in size)))
    for k, y, x in np.ndindex(expected.shape):
        rows = slice(y * stride, (y + 1) * stride)
        expected[k, y, x] = planes[k, rows, x * stride : (x + 1) * stride].mean()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_no_planes_on_a_grid_and_back():
    found = planes_on_grid(torch.zeros(0, 7, 9), 4)
    assert found.shape == (0, 2, 3)
    assert planes_from_grid(found, 4, (7, 9)).shape == (0, 7, 9)


def bilinear(plane, y, x):
    """Read a plane between the centres of its cells, edges repeated."""
    y, x = (min(max(v, 0), side - 1) for v, side in zip((y, x), plane.shape))
    top, left = int(y), int(x)
    below, right = min(top + 1, plane.shape[0] - 1), min(left + 1, plane.shape[1] - 1)
    upper = (1 - (x - left)) * plane[top, left] + (x - left) * plane[top, right]
    lower = (1 - (x - left)) * plane[below, left] + (x - left) * plane[below, right]
    return (1 - (y - top)) * upper + (y - top) * lower


def test_pixels_between_cells_by_loops():
    planes = drawn(2, 3, 4)
    found = planes_from_grid(torch.from_numpy(planes), 4, (11, 14)).numpy()
    assert found.shape == (2, 11, 14)
    for k, y, x in np.ndindex(found.shape):
        expected = bilinear(planes[k], (y + 0.5) / 4 - 0.5, (x + 0.5) / 4 - 0.5)
        assert found[k, y, x] == pytest.approx(expected, abs=1e-12)


def test_grid_and_image_lie_upon_one_another():
    """The mean over a cell of a linear ramp is the ramp at the cell's centre."""
    ramp = torch.linspace(0, 1, 32, dtype=torch.float64).expand(1, 32, 32)
    back = planes_from_grid(planes_on_grid(ramp, 4), 4, (32, 32))
    inner = (..., slice(2, -2))
    torch.testing.assert_close(back[inner], ramp[inner])
    assert torch.equal(F.avg_pool2d(ramp, 4), planes_on_grid(ramp, 4))


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: planes_on_grid(torch.zeros(3, 4), 2), r'planes: expected shape \(K'),
        (
            lambda: planes_from_grid(torch.zeros(3, 4), 2, (3, 4)),
            r'planes: expected shape \(K, h, w\), got \(3, 4\)',
        ),
        (
            lambda: planes_from_grid(torch.zeros(1, 3, 4), 2, (7, 8)),
            r'size: expected up to 2 times the grid \(3, 4\), got \(7, 8\)',
        ),
    ],
)
def test_sizes_that_do_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()
