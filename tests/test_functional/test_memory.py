"""Writes into the memory against one region at a time, in plain Python."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mmwsss.functional.memory import write_regions_

REFERENCE = Path(__file__).parents[1] / 'data/rca_ops.npz'
MOMENTUM = 0.99


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def loop_write(features, pointer, count, regions, classes, momentum):
    """Write rows one after the other, all state in lists."""
    features, pointer, count = features.tolist(), pointer.tolist(), count.tolist()
    slots = len(features[0])
    for row, own in zip(regions.tolist(), classes.tolist()):
        slot = pointer[own]
        if slot < count[own]:
            row = [
                momentum * old + (1 - momentum) * new
                for old, new in zip(features[own][slot], row)
            ]
        features[own][slot] = row
        pointer[own] = (slot + 1) % slots
        count[own] = min(count[own] + 1, slots)
    return features, pointer, count


def assert_same(state, expected):
    np.testing.assert_allclose(state[0], expected[0], rtol=1e-13, atol=1e-15)
    assert [x.tolist() for x in state[1:]] == list(expected[1:])


def test_first_write_replaces_and_the_next_visit_averages():
    features = torch.full((2, 2, 2), 50.0, dtype=torch.float64)
    pointer, count = torch.zeros(2).long(), torch.zeros(2).long()

    def write(*rows, own):
        regions = torch.tensor(rows, dtype=torch.float64)
        classes = torch.full((len(rows),), own)
        write_regions_(features, pointer, count, regions, classes, momentum=0.75)

    write([4.0, 8.0], own=1)
    # nothing of the 50 remains in the slot written
    assert features.tolist() == [[[50.0, 50.0]] * 2, [[4.0, 8.0], [50.0, 50.0]]]
    assert (pointer.tolist(), count.tolist()) == ([0, 1], [0, 1])
    write([1.0, 1.0], [8.0, 0.0], own=1)
    # the second slot is new, the first 0.75 * 4 + 0.25 * 8, 0.75 * 8 + 0.25 * 0
    assert features[1].tolist() == [[5.0, 6.0], [1.0, 1.0]]
    assert (pointer.tolist(), count.tolist()) == ([0, 1], [0, 2])
    assert features[0].tolist() == [[50.0, 50.0]] * 2


@pytest.mark.parametrize('rows', [0, 1, 3, 4, 5, 9, 40])
@pytest.mark.parametrize('full', [False, True])
def test_writes_equal_one_at_a_time(rows, full):
    num_classes, slots, channels = 3, 4, 2
    features = random(num_classes, slots, channels)
    pointer = torch.tensor([0, 2, 3])
    count = torch.full((3,), slots) if full else pointer.clone()
    # 40 rows: one class wraps more than once, another not at all
    classes = (random(rows, seed=1).abs() * 2).long().clamp(max=2)
    regions = random(rows, channels, seed=2)
    expected = loop_write(features, pointer, count, regions, classes, MOMENTUM)
    write_regions_(features, pointer, count, regions, classes, momentum=MOMENTUM)
    assert_same((features, pointer, count), expected)


def test_one_class_wraps_five_times_in_one_call():
    features = torch.zeros(2, 3, 1, dtype=torch.float64)
    pointer, count = torch.tensor([1, 0]), torch.tensor([1, 0])
    regions, classes = random(16, 1), torch.zeros(16).long()
    expected = loop_write(features, pointer, count, regions, classes, 0.5)
    write_regions_(features, pointer, count, regions, classes, momentum=0.5)
    assert_same((features, pointer, count), expected)
    assert (pointer.tolist(), count.tolist()) == ([2, 0], [3, 0])


def test_batches_that_do_not_divide_the_slots_equal_one_batch():
    regions, classes = random(22, 2), (torch.arange(22) * 7) % 3
    states = []
    for sizes in ([22], [5, 5, 5, 7], [1] * 22):
        state = (
            torch.zeros(3, 4, 2, dtype=torch.float64),
            torch.zeros(3).long(),
            torch.zeros(3).long(),
        )
        for rows, own in zip(regions.split(sizes), classes.split(sizes)):
            write_regions_(*state, rows, own, momentum=MOMENTUM)
        states.append(state)
    for state in states[1:]:
        for got, want in zip(state, states[0]):
            assert torch.equal(got, want)


def test_reference_of_a_full_memory():
    with np.load(REFERENCE) as file:
        arrays = {key: torch.from_numpy(file[key]) for key in file}
    bank, pointer = arrays['input/bank'].double(), arrays['input/pointer']
    count = torch.full_like(pointer, bank.shape[1])
    write_regions_(
        bank,
        pointer,
        count,
        arrays['paper/memory/region'],
        arrays['memory/writes'][:, 1],
        momentum=float(arrays['const/momentum']),
    )
    np.testing.assert_allclose(bank, arrays['paper/memory/bank'], rtol=1e-9)
    assert torch.equal(pointer, arrays['paper/memory/pointer'])


@pytest.mark.parametrize(('momentum', 'expected'), [(0.0, 7.0), (1.0, 2.0)])
def test_limits_of_the_momentum(momentum, expected):
    features, one = torch.full((1, 1, 1), 2.0), torch.ones(1).long()
    pointer = torch.zeros(1).long()
    regions = torch.full((1, 1), 7.0)
    write_regions_(features, pointer, one, regions, pointer.clone(), momentum=momentum)
    assert features.item() == expected


def test_never_written_slot_takes_the_region_whatever_it_holds():
    features = torch.full((1, 1, 1), torch.nan)
    state = torch.zeros(2, 1).long()
    write_regions_(
        features, *state, torch.ones(1, 1), torch.zeros(1).long(), momentum=1.0
    )
    assert features.item() == 1.0


def test_regions_are_written_without_their_graph():
    features, pointer, count = torch.zeros(1, 2, 1), *torch.zeros(2, 1).long()
    regions = torch.ones(1, 1, dtype=torch.float16, requires_grad=True)
    write_regions_(
        features, pointer, count, regions, torch.zeros(1).long(), momentum=MOMENTUM
    )
    assert not features.requires_grad
    assert features.dtype == torch.float32
    assert features.flatten().tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(features=torch.zeros(2, 3)), r'features: expected shape \(C, L, D\)'),
        (dict(pointer=torch.zeros(3).long()), r'pointer: expected shape \(2\)'),
        (dict(count=torch.zeros(3).long()), r'count: expected shape \(2\)'),
        (dict(regions=torch.zeros(1, 5)), r'regions: expected shape \(R, 4\)'),
        (dict(classes=torch.zeros(2).long()), r'classes: expected shape \(1\)'),
        (dict(momentum=1.5), r'momentum: expected a value in \[0, 1\], got 1.5'),
    ],
)
def test_wrong_arguments(changes, message):
    arguments = dict(
        features=torch.zeros(2, 3, 4),
        pointer=torch.zeros(2).long(),
        count=torch.zeros(2).long(),
        regions=torch.zeros(1, 4),
        classes=torch.zeros(1).long(),
        momentum=MOMENTUM,
    )
    with pytest.raises(ValueError, match=message):
        write_regions_(**(arguments | changes))
