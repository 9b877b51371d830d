"""Formulas on generated examples: group laws of the views, counts of the histogram."""

import itertools

import numpy as np
import torch
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st

from mmwsss.functional.seeds import label_map, seed_histogram, threshold_curve
from mmwsss.functional.views import (
    DIHEDRAL,
    INVERSE,
    TRANSPOSING,
    apply_dihedral,
    inverse_token_order,
    permute_attention,
)

NAMES = st.sampled_from(sorted(DIHEDRAL))
SIDES = st.integers(1, 7)
GRIDS = st.tuples(SIDES, SIDES)
SEEDS = st.integers(0, 2**32 - 1)
IGNORE = 255


def pixels(height, width):
    return torch.arange(height * width).view(height, width)


def named(function):
    """Return the one element of D4 that acts so on grids of different sides."""
    images = [pixels(2, 3), pixels(3, 2), pixels(3, 3)]
    (name,) = (
        name
        for name in DIHEDRAL
        if all(torch.equal(function(x), apply_dihedral(x, name)) for x in images)
    )
    return name


def composed(first, second):
    return named(lambda x: apply_dihedral(apply_dihedral(x, first), second))


def test_d4_is_a_group():
    """Closed, with identity and inverses, and not commutative: 64 products."""
    table = {pair: composed(*pair) for pair in itertools.product(DIHEDRAL, repeat=2)}
    for name in DIHEDRAL:
        assert table['identity', name] == table[name, 'identity'] == name
        assert table[name, INVERSE[name]] == table[INVERSE[name], name] == 'identity'
        assert {table[name, other] for other in DIHEDRAL} == set(DIHEDRAL)
    for a, b, c in itertools.product(DIHEDRAL, repeat=3):
        assert table[table[a, b], c] == table[a, table[b, c]]
    assert table['hflip', 'rot90'] != table['rot90', 'hflip']


@fuzz()
@given(names=st.lists(NAMES, max_size=6), grid=GRIDS, depth=st.integers(1, 3))
def test_compositions_are_elements_and_are_undone_exactly(names, grid, depth):
    image = torch.arange(depth * grid[0] * grid[1]).view(depth, *grid)
    view, name = image, 'identity'
    for step in names:
        view, name = apply_dihedral(view, step), composed(name, step)
    assert torch.equal(view, apply_dihedral(image, name))
    swapped = sum(step in TRANSPOSING for step in names) % 2
    assert tuple(view.shape[1:]) == (grid[::-1] if swapped else grid)
    for step in reversed(names):
        view = apply_dihedral(view, INVERSE[step])
    assert torch.equal(view, image)


@fuzz()
@given(names=st.lists(NAMES, min_size=1, max_size=4), grid=GRIDS, seed=SEEDS)
def test_attention_comes_back_exactly_from_a_composition(names, grid, seed):
    """Pixel by pixel: who attends to whom is the same behind the way back."""
    tokens = 1 + grid[0] * grid[1]
    generator = torch.Generator().manual_seed(seed)
    attention = torch.rand(1, tokens, tokens, generator=generator)
    view, sizes = pixels(*grid), [grid]
    for name in names:
        view = apply_dihedral(view, name)
        sizes.append(tuple(view.shape))
    # token t of the view is patch view[t] of the image, the class token stays
    places = torch.cat([torch.zeros(1, dtype=torch.long), 1 + view.flatten()])
    seen = attention[:, places][:, :, places]
    for name, size in zip(reversed(names), reversed(sizes[:-1])):
        seen = permute_attention(seen, inverse_token_order(name, size))
    assert torch.equal(seen, attention)


@st.composite
def judged_images(draw):
    """Scores with ties, on and beside the thresholds, ground truth, thresholds."""
    classes = draw(st.sets(st.integers(0, 4), max_size=3).map(sorted))
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    grid = draw(st.sets(st.integers(0, 20), min_size=1, max_size=6).map(sorted))
    random = np.random.default_rng(draw(SEEDS))
    shape = (len(classes), height, width)
    scores = random.integers(0, 21, shape) / np.float32(20)
    beside = random.integers(-1, 2, shape)
    scores = np.where(beside == 0, scores, np.nextafter(scores, np.float32(beside)))
    scores = scores.astype(np.float32).clip(0, 1)
    truth = random.choice([0, 1, 2, 3, 4, 5, IGNORE], (height, width))
    thresholds = np.array(grid, np.float32) / np.float32(20)
    return tuple(map(torch.from_numpy, (scores, truth, thresholds))) + (classes,)


@fuzz()
@given(image=judged_images())
def test_histogram_is_a_count_of_pixels(image):
    scores, truth, thresholds, classes = image
    size = dict(num_classes=6, ignore_index=IGNORE)
    found = seed_histogram(scores, classes, truth, thresholds, **size)
    expected = np.zeros((6, 7, len(thresholds) + 1), int)
    for row, column in np.ndindex(*truth.shape):
        best, winner = np.float32(0), 0
        for plane, index in zip(scores.numpy(), classes):
            if plane[row, column] > best:
                best, winner = plane[row, column], index + 1
        step = sum(best > threshold for threshold in thresholds.numpy())
        label = int(truth[row, column])
        label = 6 if label == IGNORE else label
        expected[winner if step else 0, label, step] += 1
    np.testing.assert_array_equal(found, expected)
    curve = threshold_curve(found)
    judged = truth != IGNORE
    for step, threshold in enumerate(thresholds.tolist()):
        labels = label_map(scores, classes, threshold)[judged]
        counted = np.bincount(labels.numpy(), minlength=6)
        np.testing.assert_array_equal(curve.predicted[step], counted)
        hits = labels[labels == truth[judged]].numpy()
        np.testing.assert_array_equal(curve.tp[step], np.bincount(hits, minlength=6))
