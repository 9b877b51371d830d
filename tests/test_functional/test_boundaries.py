"""Boundaries against loops over pairs of pixels and against scipy's distances."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from mmwsss.functional.boundaries import (
    BoundaryCounts,
    boundary_counts,
    boundary_f,
    class_boundaries,
    near,
)

CLASSES = (0, 1, 2)


def label_maps(seed, height=9, width=13):
    """Two blotchy label maps with pixels of 255, the second like the first."""
    random = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(random.random((3, height, width)), (0, 1.5, 1.5))
    first = noise.argmax(0)
    second = np.roll(first, 1, axis=1)
    for labels in (first, second):
        labels[random.random((height, width)) < 0.1] = 255
    return torch.from_numpy(first), torch.from_numpy(second)


def boundary_by_loops(labels, index):
    """Places of the class with a 4-neighbour of another label."""
    height, width = labels.shape
    places = []
    for y in range(height):
        for x in range(width):
            around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            inside = [(v, u) for v, u in around if 0 <= v < height and 0 <= u < width]
            if labels[y, x] == index and any(labels[p] != index for p in inside):
                places.append((y, x))
    return places


def counts_by_loops(labels, mask, index, radius):
    found, true = boundary_by_loops(labels, index), boundary_by_loops(mask, index)

    def close(place, places):
        return any(math.dist(place, other) <= radius for other in places)

    found_near = [place for place in found if close(place, true)]
    judged = [p for p in found if mask[p] != 255 or close(p, true)]
    true_near = [place for place in true if close(place, found)]
    return [len(judged), len(found_near), len(true), len(true_near)]


@pytest.mark.parametrize('radius', [0, 1, 1.5, 2.3, 20])
@pytest.mark.parametrize('seed', [0, 1])
def test_counts_are_those_of_loops_over_pairs(seed, radius):
    labels, mask = label_maps(seed)
    found = boundary_counts(labels, mask, CLASSES, radius=radius, ignore_index=255)
    expected = [
        counts_by_loops(labels.numpy(), mask.numpy(), index, radius)
        for index in CLASSES
    ]
    assert torch.stack(found).T.tolist() == expected
    assert min(row[2] for row in expected) > 0


@pytest.mark.parametrize('radius', [0.0, 1.0, 2.5, 4.69, 7.0, 40.0])
def test_near_is_within_the_euclidean_distance(radius):
    masks = np.random.default_rng(3).random((2, 23, 31)) < 0.01
    expected = [ndimage.distance_transform_edt(~mask) <= radius for mask in masks]
    found = near(torch.from_numpy(masks), radius)
    np.testing.assert_array_equal(found, expected)
    assert not near(torch.zeros(1, 4, 5, dtype=torch.bool), radius).any()


def test_border_of_the_image_is_no_boundary():
    assert not class_boundaries(torch.full((4, 5), 2), (2,)).any()


def test_f_by_hand():
    """A square moved by one pixel: all is near at 1.5, at 0 what coincides."""
    mask = torch.zeros(12, 12, dtype=torch.long)
    mask[3:8, 3:8] = 1
    labels = torch.roll(mask, 1, 1)
    settings = dict(ignore_index=255)
    wide = boundary_counts(labels, mask, (0, 1), radius=1.5, **settings)
    assert boundary_f(wide).tolist() == [1, 1]
    exact = boundary_counts(labels, mask, (1,), radius=0, **settings)
    # of 16 boundary pixels of the square 8, of the rows above and below, coincide
    assert [int(count) for count in exact] == [16, 8, 16, 8]
    assert boundary_f(exact).tolist() == [0.5]


def test_limits_of_f():
    counts = torch.tensor([[5, 0, 0, 5], [0, 0, 0, 5], [0, 4, 0, 4], [0, 0, 0, 2]])
    expected = [0, 0, math.nan, 2 * 0.5 / 1.5]
    found = boundary_f(BoundaryCounts(*counts))
    np.testing.assert_allclose(found, expected)


def test_ignored_ground():
    """A boundary of the labels within a wide ignored region is not judged."""
    mask = torch.zeros(1, 20, dtype=torch.long)
    mask[0, 2:] = 255
    labels = torch.zeros(1, 20, dtype=torch.long)
    labels[0, 10:] = 1
    counts = boundary_counts(labels, mask, (0, 1), radius=2, ignore_index=255)
    assert torch.stack(counts).T.tolist() == [[0, 0, 1, 0], [0, 0, 0, 0]]
    counts = boundary_counts(labels, mask, (0, 1), radius=8, ignore_index=255)
    assert torch.stack(counts).T.tolist() == [[1, 1, 1, 1], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ('labels', 'mask', 'radius', 'message'),
    [
        (torch.zeros(1, 2), torch.zeros(2, 1), 1, r'mask: expected shape \(1, 2\)'),
        (torch.zeros(2), torch.zeros(2), 1, r'labels: expected shape \(H, W\)'),
        (torch.zeros(2, 2), torch.zeros(2, 2), -1, 'radius: expected >= 0, got -1'),
        (torch.zeros(2, 2), torch.zeros(2, 2), math.nan, 'expected >= 0, got nan'),
    ],
)
def test_unusable_arguments(labels, mask, radius, message):
    with pytest.raises(ValueError, match=message):
        boundary_counts(labels, mask, (0,), radius=radius, ignore_index=255)


def test_masks_without_classes_axis():
    with pytest.raises(ValueError, match=r'masks: expected shape \(K, H, W\)'):
        near(torch.zeros(2, 2, dtype=torch.bool), 1)
