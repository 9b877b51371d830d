"""Paths, affinities and displacements against loops and geometry."""

from fractions import Fraction

import pytest
import torch
from torch.autograd import gradcheck

from mmwsss.functional.affinity_pairs import PairTargets, half_disc_offsets
from mmwsss.functional.boundary_affinity import (
    displacement_losses,
    line_pixels,
    path_affinity,
)

OFFSETS = half_disc_offsets(4)
KINDS = ('foreground', 'background', 'different')


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def random_targets(*shape, seed=0):
    kinds = (random(*shape, seed=seed) * 4).int()
    return PairTargets(*(kinds == kind for kind in range(3)))


def clipped(start, step, low, high):
    """Part [first, last] of 0..1 in which start + t * step is within low..high."""
    if not step:
        return (Fraction(0), Fraction(1)) if low <= start <= high else None
    ends = sorted((Fraction(low - start) / step, Fraction(high - start) / step))
    first, last = max(Fraction(0), ends[0]), min(Fraction(1), ends[1])
    return (first, last) if first <= last else None


def touches(pixel, offset):
    """Whether the line from the origin meets the pixel's square, in exact fractions."""
    half = Fraction(1, 2)
    parts = [clipped(0, d, p - half, p + half) for p, d in zip(pixel, offset)]
    if None in parts:
        return False
    return max(part[0] for part in parts) <= min(part[1] for part in parts)


@pytest.mark.parametrize('radius', [2, 5, 10])
def test_path_is_every_square_that_the_line_meets(radius):
    for offset in [*half_disc_offsets(radius), (-radius, 1), (0, -radius)]:
        rows, columns = (range(min(0, d) - 1, max(0, d) + 2) for d in offset)
        expected = [(y, x) for y in rows for x in columns if touches((y, x), offset)]
        assert line_pixels(offset) == expected


def test_path_to_itself_is_the_pixel():
    assert line_pixels((0, 0)) == [(0, 0)]


def test_path_back_is_the_path():
    for dy, dx in OFFSETS:
        there = {(y - dy, x - dx) for y, x in line_pixels((dy, dx))}
        assert there == set(line_pixels((-dy, -dx)))


def loop_affinity(boundary, offset, y, x):
    height, width = boundary.shape
    other = y + offset[0], x + offset[1]
    if not (0 <= other[0] < height and 0 <= other[1] < width):
        return 0.0
    return 1 - max(boundary[y + i][x + j].item() for i, j in line_pixels(offset))


@pytest.mark.parametrize('offsets', [OFFSETS, [(-2, 1), (0, -3), (3, 3)]])
def test_affinity_is_what_the_path_leaves(offsets):
    boundary = random(2, 5, 7)
    got = path_affinity(boundary, offsets)
    assert got.shape == (2, len(offsets), 5, 7)
    for index, plane in enumerate(boundary):
        for p, offset in enumerate(offsets):
            for y in range(5):
                for x in range(7):
                    expected = loop_affinity(plane, offset, y, x)
                    assert got[index, p, y, x].item() == expected


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_affinity_without_and_within_boundaries(value):
    got = path_affinity(torch.full((1, 6, 6), value), OFFSETS)
    inside = path_affinity(torch.zeros(1, 6, 6), OFFSETS) == 1
    assert torch.equal(got, inside * (1 - value))
    assert inside[0, OFFSETS.index((0, 1))].sum() == 6 * 5


def test_no_path_slips_through_pixels_that_meet_at_corners():
    boundary = torch.eye(9)[None]
    affinity = path_affinity(boundary, OFFSETS)
    for p, (dy, dx) in enumerate(OFFSETS):
        for y in range(9):
            for x in range(9):
                if (y - x) * (y + dy - x - dx) < 0:
                    assert affinity[0, p, y, x] == 0


def test_grid_smaller_than_the_reach_has_no_pairs_beyond():
    affinity = path_affinity(torch.zeros(1, 2, 2), half_disc_offsets(10))
    assert affinity.sum() == 6  # 4 beside each other and 2 across


def test_gradient_of_affinity():
    # distinct values: the largest pixel of a path is one and stays it
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    boundary = (order.double() / 20).view(1, 4, 5).requires_grad_()
    assert gradcheck(lambda b: path_affinity(b, OFFSETS), boundary)


def test_gradient_of_affinity_goes_to_one_of_equal_pixels():
    boundary = torch.full((1, 1, 3), 0.5, requires_grad=True)
    path_affinity(boundary, [(0, 2)])[0, 0, 0, 0].backward()
    assert sorted(boundary.grad.flatten().tolist()) == [-1, 0, 0]


def loop_losses(displacement, targets, offsets):
    """Both losses by lists of pairs, in Python floats."""
    values = displacement.tolist()
    found = {kind: [] for kind in KINDS[:2]}
    for kind, terms in found.items():
        for b, p, y, x in getattr(targets, kind).nonzero().tolist():
            dy, dx = offsets[p]
            hat = [values[b][c][y + dy][x + dx] - values[b][c][y][x] for c in (0, 1)]
            wanted = (dy, dx) if kind == 'foreground' else (0, 0)
            terms.append(sum(abs(w - h) for w, h in zip(wanted, hat)))
    return [sum(terms) / len(terms) if terms else 0.0 for terms in found.values()]


def inside(targets, offsets):
    """Take pairs with an outside pixel from the targets."""
    exists = path_affinity(targets.foreground[:, 0] * 0.0, offsets) > 0
    return PairTargets(*(kind & exists for kind in targets))


def test_displacement_losses_are_means_over_pairs():
    displacement = 3 * random(2, 2, 5, 6, seed=1)
    targets = inside(random_targets(2, len(OFFSETS), 5, 6), OFFSETS)
    got = displacement_losses(displacement, targets, OFFSETS)
    expected = loop_losses(displacement, targets, OFFSETS)
    assert [float(loss) for loss in got] == pytest.approx(expected, rel=1e-12)
    assert min(expected) > 0.5


def test_displacements_from_one_point_are_right_in_the_foreground():
    rows, columns = torch.meshgrid(torch.arange(5), torch.arange(6), indexing='ij')
    radial = torch.stack([rows - 2, columns - 3])[None].double()
    every = torch.ones(1, len(OFFSETS), 5, 6, dtype=torch.bool)
    targets = inside(PairTargets(every, every, ~every), OFFSETS)
    losses = displacement_losses(radial, targets, OFFSETS)
    assert losses.foreground == 0
    lengths = [abs(dy) + abs(dx) for dy, dx in OFFSETS]
    counts = targets.background.sum((0, 2, 3)).tolist()
    expected = sum(n * c for n, c in zip(lengths, counts)) / sum(counts)
    assert losses.background.item() == pytest.approx(expected, rel=1e-12)


def test_no_pairs_cost_nothing_and_pull_nowhere():
    displacement = random(1, 2, 3, 3).requires_grad_()
    none = torch.zeros(1, len(OFFSETS), 3, 3, dtype=torch.bool)
    losses = displacement_losses(displacement, PairTargets(none, none, none), OFFSETS)
    assert [float(loss) for loss in losses] == [0, 0]
    sum(losses).backward()
    assert not displacement.grad.any()


def test_gradient_of_displacements():
    displacement = (3 * random(1, 2, 3, 4, seed=2)).requires_grad_()
    targets = inside(random_targets(1, len(OFFSETS), 3, 4, seed=3), OFFSETS)
    assert gradcheck(
        lambda d: tuple(displacement_losses(d, targets, OFFSETS)), displacement
    )


def test_shapes_and_offsets_are_checked():
    with pytest.raises(ValueError, match=r'boundary: expected shape \(B, h, w\)'):
        path_affinity(torch.zeros(2, 3), OFFSETS)
    with pytest.raises(ValueError, match='offsets: expected some'):
        path_affinity(torch.zeros(1, 2, 3), [])
    targets = random_targets(1, len(OFFSETS), 3, 3)
    with pytest.raises(ValueError, match=r'displacement: expected shape \(B, 2, h, w'):
        displacement_losses(torch.zeros(1, 1, 3, 3), targets, OFFSETS)
    with pytest.raises(ValueError, match=r'targets\.foreground: expected shape'):
        displacement_losses(torch.zeros(1, 2, 3, 4), targets, OFFSETS)
