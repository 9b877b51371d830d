"""Pairs, their labels and their loss against loops over pixels."""

import math

import numpy as np
import pytest
import torch

from mmwsss.functional.affinity_pairs import (
    PairTargets,
    feature_affinity,
    half_disc_offsets,
    labels_on_grid,
    neighbour_values,
    pair_affinity_loss,
    pair_targets,
)

IGNORED = 255


def drawn_labels(size=(2, 7, 9), *, seed=0):
    random = np.random.default_rng(seed)
    return random.choice([0, 3, 5, IGNORED], size, p=[0.4, 0.25, 0.15, 0.2])


def kinds_by_loops(labels, offsets):
    """Return three masks (B, P, h, w) by the rule's words."""
    count, height, width = labels.shape
    kinds = np.zeros((3, count, len(offsets), height, width), bool)
    for b, p, y, x in np.ndindex(kinds.shape[1:]):
        row, column = y + offsets[p][0], x + offsets[p][1]
        if not (0 <= row < height and 0 <= column < width):
            continue
        first, second = labels[b, y, x], labels[b, row, column]
        if IGNORED in (first, second):
            continue
        kind = 2 if first != second else 1 if first == 0 else 0
        kinds[kind, b, p, y, x] = True
    return kinds


def loss_by_loops(affinity, kinds, eps):
    total = 0.0
    for kind, share in enumerate((0.25, 0.25, 0.5)):
        values = [affinity[place] for place in zip(*np.nonzero(kinds[kind]))]
        values = [1 - a for a in values] if kind == 2 else values
        terms = [-math.log((a + eps) / (1 + eps)) for a in values]
        total += share * sum(terms) / len(terms) if terms else 0.0
    return total


@pytest.mark.parametrize('radius', [1, 1.5, 2, 3, 5, 5.5, 10])
def test_every_pair_of_the_disc_once(radius):
    offsets = half_disc_offsets(radius)
    reach = math.ceil(radius)
    disc = {
        (y, x)
        for y in range(-reach, reach + 1)
        for x in range(-reach, reach + 1)
        if 0 < math.hypot(y, x) < radius
    }
    opposite = {(-y, -x) for y, x in offsets}
    assert set(offsets) | opposite == disc
    assert not set(offsets) & opposite
    assert len(offsets) == len(set(offsets))
    assert offsets == sorted(offsets)
    assert all(offset > (0, 0) for offset in offsets)


def test_numbers_of_pairs():
    """Discs of squared radius below 25 and 100 have 69 and 305 pixels."""
    assert [len(half_disc_offsets(r)) for r in (5, 10)] == [34, 152]


@pytest.mark.parametrize('offset', [(1, 2), (0, 1), (2, -3), (-1, 1), (0, 6), (9, 0)])
@pytest.mark.parametrize('dtype', [torch.int64, torch.float64, torch.bool])
def test_neighbours_by_loops(offset, dtype):
    planes = torch.from_numpy(drawn_labels((2, 3, 4, 6))).to(dtype)
    found = neighbour_values(planes, offset, 1)
    assert found.dtype == dtype
    for *lead, y, x in np.ndindex(planes.shape):
        row, column = y + offset[0], x + offset[1]
        inside = 0 <= row < 4 and 0 <= column < 6
        expected = (
            planes[(*lead, row, column)] if inside else torch.ones((), dtype=dtype)
        )
        assert found[(*lead, y, x)] == expected


@pytest.mark.parametrize('size', [(2, 7, 9), (1, 1, 4), (1, 6, 2)])
@pytest.mark.parametrize('radius', [2, 4])
def test_targets_by_loops(size, radius):
    labels, offsets = drawn_labels(size), half_disc_offsets(radius)
    targets = pair_targets(torch.from_numpy(labels), offsets)
    expected = kinds_by_loops(labels, offsets)
    for mask, wanted in zip(targets, expected):
        np.testing.assert_array_equal(mask.numpy(), wanted)
    assert expected[:, :, :, :, :].any(axis=(1, 2, 3, 4)).sum() >= 2


def test_another_label_of_undecided_pixels():
    labels = torch.tensor([[[0, 9, 9, 3, 3]]])
    targets = pair_targets(labels, [(0, 1)], ignore_index=9)
    assert [mask.flatten().tolist() for mask in targets] == [
        [False, False, False, True, False],
        [False] * 5,
        [False] * 5,
    ]


def targets_of(labels, radius=3):
    offsets = half_disc_offsets(radius)
    return pair_targets(torch.from_numpy(labels), offsets), offsets


def drawn_affinity(targets, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(targets.different.shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize('eps', [1e-5, 0.1])
@pytest.mark.parametrize('seed', [0, 1])
def test_loss_by_loops(eps, seed):
    labels = drawn_labels(seed=seed)
    targets, offsets = targets_of(labels)
    affinity = drawn_affinity(targets)
    found = pair_affinity_loss(affinity, targets, eps=eps)
    expected = loss_by_loops(affinity.numpy(), kinds_by_loops(labels, offsets), eps)
    assert float(found) == pytest.approx(expected, rel=1e-12)
    single = pair_affinity_loss(affinity.float(), targets, eps=eps)
    assert float(single) == pytest.approx(expected, rel=1e-5)


def test_default_eps():
    targets, _ = targets_of(drawn_labels())
    affinity = drawn_affinity(targets)
    expected = pair_affinity_loss(affinity, targets, eps=1e-5)
    assert torch.equal(pair_affinity_loss(affinity, targets), expected)


def test_right_answers_cost_nothing_and_wrong_ones_a_finite_sum():
    targets, _ = targets_of(drawn_labels())
    right = (~targets.different).double()
    assert float(pair_affinity_loss(right, targets)) == 0
    worst = (1 - right).requires_grad_()
    loss = pair_affinity_loss(worst, targets)
    loss.backward()
    assert float(loss) == pytest.approx(math.log((1 + 1e-5) / 1e-5))
    assert bool(worst.grad.isfinite().all())


@pytest.mark.parametrize(
    ('labels', 'share'), [([[[0, 0]]], 0.25), ([[[4, 4]]], 0.25), ([[[4, 0]]], 0.5)]
)
def test_kinds_without_pairs_add_nothing(labels, share):
    targets = pair_targets(torch.tensor(labels), [(0, 1)])
    affinity = torch.full((1, 1, 1, 2), 0.5, dtype=torch.float64)
    loss = pair_affinity_loss(affinity, targets, eps=1e-12)
    assert float(loss) == pytest.approx(share * math.log(2))


def test_undecided_labels_give_no_gradient():
    targets, _ = targets_of(np.full((1, 4, 4), IGNORED))
    affinity = drawn_affinity(targets).requires_grad_()
    loss = pair_affinity_loss(affinity, targets)
    loss.backward()
    assert float(loss) == 0
    assert float(affinity.grad.abs().max()) == 0


def test_gradients_of_the_loss():
    targets, _ = targets_of(drawn_labels((1, 3, 4)), radius=2)
    affinity = (0.1 + 0.8 * drawn_affinity(targets)).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: pair_affinity_loss(a, targets), affinity)


def drawn_features(size=(2, 3, 4, 5)):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize('size', [(2, 3, 4, 5), (1, 2, 1, 3), (1, 2, 6, 2)])
def test_affinity_of_features_by_loops(size):
    features, offsets = drawn_features(size), half_disc_offsets(3)
    found = feature_affinity(features, offsets)
    _, channels, height, width = size
    for b, p, y, x in np.ndindex(*found.shape):
        row, column = y + offsets[p][0], x + offsets[p][1]
        expected = 0.0
        if 0 <= row < height and 0 <= column < width:
            pair = features[b, :, y, x].tolist(), features[b, :, row, column].tolist()
            distance = sum(abs(one - other) for one, other in zip(*pair))
            expected = math.exp(-distance / channels)
        assert float(found[b, p, y, x]) == pytest.approx(expected, abs=1e-14)


def test_gradients_of_the_affinity():
    affinity = lambda features: feature_affinity(features, half_disc_offsets(2))
    assert torch.autograd.gradcheck(affinity, drawn_features().requires_grad_())


def test_gradients_are_those_of_plain_operations():
    features, offsets = drawn_features((2, 3, 5, 4)), half_disc_offsets(4)
    weights = torch.rand(2, len(offsets), 5, 4, dtype=torch.float64)
    gradients = []
    for affinity in (feature_affinity, by_plain_operations):
        leaf = features.clone().requires_grad_()
        (weights * affinity(leaf, offsets)).sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients)


def by_plain_operations(features, offsets):
    planes = []
    for dy, dx in offsets:
        inside = torch.ones(features.shape[2:])
        inside = neighbour_values(inside, (dy, dx), 0)
        moved = torch.roll(features, (-dy, -dx), (2, 3))
        planes.append((-(features - moved).abs().mean(1)).exp() * inside)
    return torch.stack(planes, 1)


def majority_by_loops(labels, stride):
    count, height, width = labels.shape
    rows, columns = math.ceil(height / stride), math.ceil(width / stride)
    found = np.full((count, rows, columns), IGNORED)
    for b, y, x in np.ndindex(found.shape):
        cell = labels[b, y * stride : (y + 1) * stride, x * stride : (x + 1) * stride]
        for label in np.unique(cell):
            if 2 * (cell == label).sum() > stride**2:
                found[b, y, x] = label
    return found


@pytest.mark.parametrize('size', [(2, 12, 16), (1, 13, 9), (1, 2, 3)])
@pytest.mark.parametrize('stride', [1, 2, 3, 4])
@pytest.mark.parametrize('seed', [0, 1])
def test_majority_by_loops(size, stride, seed):
    random = np.random.default_rng(seed)
    # patches of labels with noise: cells with and without a majority
    coarse = drawn_labels((size[0], 9, 9), seed=seed)
    rows, columns = (np.arange(n) // 3 for n in size[1:])
    labels = coarse[:, rows[:, None], columns]
    labels = np.where(random.random(size) < 0.4, drawn_labels(size, seed=9), labels)
    found = labels_on_grid(torch.from_numpy(labels), stride)
    np.testing.assert_array_equal(found.numpy(), majority_by_loops(labels, stride))


@pytest.mark.parametrize(
    ('pixels', 'expected'),
    [
        ([7, 7, 7, 0], 7),
        ([0, 7, 7, 7], 7),
        ([7, 0, 7, 7], 7),
        ([7, 7, 0, 0], IGNORED),
        ([7, 0, 7, 0], IGNORED),
        ([0, 3, 7, 7], IGNORED),
        ([IGNORED, IGNORED, IGNORED, 7], IGNORED),
        ([0, 0, 0, IGNORED], 0),
    ],
)
def test_cells_worked_by_hand(pixels, expected):
    found = labels_on_grid(torch.tensor(pixels).view(1, 2, 2), 2)
    assert found.tolist() == [[[expected]]]


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (
            lambda: pair_targets(torch.zeros(4, 4), [(0, 1)]),
            r'labels: expected shape \(B, h, w\), got \(4, 4\)',
        ),
        (
            lambda: pair_affinity_loss(
                torch.zeros(1, 2, 3, 3), PairTargets(*torch.zeros(3, 1, 2, 3, 4).bool())
            ),
            r'foreground: expected shape \(1, 2, 3, 3\), got \(1, 2, 3, 4\)',
        ),
        (
            lambda: feature_affinity(torch.zeros(3, 4, 4), [(0, 1)]),
            r'features: expected shape \(B, C, h, w\), got \(3, 4, 4\)',
        ),
        (
            lambda: labels_on_grid(torch.zeros(4, 4), 2),
            r'labels: expected shape \(B, H, W\), got \(4, 4\)',
        ),
        (
            lambda: labels_on_grid(torch.zeros(1, 4, 4), 0),
            r'stride: expected >= 1, got 0',
        ),
    ],
)
def test_arguments_that_do_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()
