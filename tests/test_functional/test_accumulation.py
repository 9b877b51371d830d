"""The accumulation rule against loops over pixels, and the released arrays."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mmwsss.functional.accumulation import accumulate, quantize_maps

REFERENCE = Path(__file__).parents[1] / 'data/rca_ops.npz'


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def loop_quantize(plane):
    top = max(max(plane), 0.0)
    # Python rounds halves to even, as rint does
    return [round(255 * max(value, 0.0) / (top + 1e-8)) for value in plane]


def state(count=1, grid=(1, 2)):
    stored = torch.zeros(count, *grid, dtype=torch.uint8)
    return stored, torch.zeros(count, dtype=torch.bool)


def test_levels_equal_a_loop_over_pixels():
    maps = random(4, 5, 6)
    maps[2] = -maps[2].abs()
    got = quantize_maps(maps)
    assert got.dtype == torch.uint8
    for plane in range(4):
        expected = loop_quantize(maps[plane].flatten().tolist())
        assert got[plane].flatten().tolist() == expected
    assert not got[2].any()


def test_halves_go_to_the_even_level():
    # 255 m / 510 = 0.5, 1.5, 2.5; the guard is lost beside 510 in float32
    maps = torch.tensor([[[1.0, 3.0, 5.0, 510.0]]])
    assert quantize_maps(maps).flatten().tolist() == [0, 2, 2, 255]


def test_half_precision_is_quantized_in_float32():
    # 255 times the value exceeds what float16 can hold, and its guard would be 0
    maps = torch.tensor([[[500.0, 1000.0]], [[0.0, 0.0]]], dtype=torch.float16)
    assert quantize_maps(maps).tolist() == [[[128, 255]], [[0, 0]]]


def test_released_maps_visit_by_visit():
    with np.load(REFERENCE) as file:
        maps, scores = (torch.from_numpy(file[f'oaa/{k}']) for k in ('map', 'score'))
        epochs, total = file['oaa/epoch'].tolist(), int(file['oaa/total_epochs'])
        want, there = (file[f'official/oaa/{k}'] for k in ('accumulated', 'exists'))
        tags = file['input/label'] > 0
    for image in range(3):
        own = tags[image].nonzero()[0]
        stored, exists = state(len(own), maps.shape[-2:])
        for visit, epoch in enumerate(epochs):
            stored, exists = accumulate(
                stored,
                exists,
                maps[visit, image, own],
                scores[visit, image, own],
                last=epoch == total - 1,
            )
            np.testing.assert_array_equal(stored, want[visit, image, own])
            np.testing.assert_array_equal(exists, there[visit, image, own])


def step(kept, low, score, **settings):
    """One visit of a map (low, 255), so that its level is ``low``."""
    maps = torch.tensor([[[float(low), 255.0]]])
    stored, exists = accumulate(*kept, maps, torch.tensor([score]), **settings)
    return stored, exists


def test_low_scores_are_skipped_and_maxima_kept():
    kept = step(state(), 90, 0.0999)
    assert (kept[0].sum(), kept[1].item()) == (0, False)
    kept = step(kept, 20, 0.1)
    assert (kept[0].tolist(), kept[1].item()) == ([[[20, 255]]], True)
    kept = step(kept, 90, 0.0999)
    assert kept[0].tolist() == [[[20, 255]]]
    kept = step(kept, 60, 0.9)
    kept = step(kept, 40, 0.9)
    assert kept[0].tolist() == [[[60, 255]]]


def test_last_epoch_stores_what_is_missing_and_nothing_else():
    kept = step(state(), 30, 0.0, last=True)
    assert (kept[0].tolist(), kept[1].item()) == ([[[30, 255]]], True)
    again = step(kept, 90, 0.0, last=True)
    assert again[0].tolist() == [[[30, 255]]]
    again = step(kept, 90, 0.5, last=True)
    assert again[0].tolist() == [[[90, 255]]]


@pytest.mark.parametrize(('gate', 'there'), [(0.0, True), (0.3, True), (0.31, False)])
def test_gate_is_a_setting(gate, there):
    assert step(state(), 30, 0.3, gate=gate)[1].item() == there


def test_order_of_visits_does_not_count():
    maps = random(5, 2, 3, 4)
    scores = torch.tensor([0.9, 0.05, 0.2, 0.5, 0.0])
    kept = []
    for order in ([0, 1, 2, 3, 4], [3, 4, 2, 0, 1]):
        stored, exists = state(2, (3, 4))
        for visit in order:
            stored, exists = accumulate(
                stored, exists, maps[visit], scores[visit].expand(2)
            )
        kept.append((stored, exists))
    assert torch.equal(kept[0][0], kept[1][0])
    assert torch.equal(kept[0][1], kept[1][1])


def test_what_a_missing_map_held_is_forgotten():
    stored, exists = state()
    kept = step((stored + 200, exists), 30, 0.5)
    assert kept[0].tolist() == [[[30, 255]]]
    kept = step((stored + 200, exists), 30, 0.0)
    assert kept[0].tolist() == [[[0, 0]]]


def test_inputs_are_left_alone():
    stored, exists = state()
    step((stored, exists), 30, 0.5)
    assert not stored.any()
    assert not exists.any()


def test_no_tags():
    stored, exists = state(0)
    got = accumulate(stored, exists, torch.zeros(0, 1, 2), torch.zeros(0))
    assert (got[0].shape, got[1].shape) == ((0, 1, 2), (0,))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(stored=torch.zeros(2, 3)), r'stored: expected shape \(k, h, w\)'),
        (dict(exists=torch.zeros(1).bool()), r'exists: expected shape \(2\)'),
        (dict(maps=torch.zeros(2, 3, 3)), r'maps: expected shape \(2, 3, 4\)'),
        (dict(scores=torch.zeros(3)), r'scores: expected shape \(2\)'),
        (dict(stored=torch.zeros(2, 3, 4)), r'stored: expected torch.uint8, got'),
        (dict(exists=torch.zeros(2)), r'exists: expected torch.bool, got'),
    ],
)
def test_wrong_arguments(changes, message):
    stored, exists = state(2, (3, 4))
    arguments = dict(
        stored=stored, exists=exists, maps=torch.zeros(2, 3, 4), scores=torch.zeros(2)
    )
    with pytest.raises(ValueError, match=message):
        accumulate(**(arguments | changes))


def test_map_of_two_axes_is_refused():
    with pytest.raises(ValueError, match=r'maps: expected shape \(k, h, w\)'):
        quantize_maps(torch.zeros(3, 4))
