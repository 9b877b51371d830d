"""The memory against plain loops, the reference arrays, and among processes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from joined_processes import run_joined
from torch import nn

from mmwsss.models.classifiers.checkpoint_guard import refuse_other_shapes
from mmwsss.models.memories import RegionBatch, RegionMemory
from mmwsss.registry import MODELS
from mmwsss.utils.errors import CheckpointError, ConfigError

ARRAYS = np.load(Path(__file__).parents[1] / 'data/rca_ops.npz')
CLASSES, CHANNELS = 3, 4
SIZES = dict(num_slots=5, momentum=0.9)
HIGH = 0.9
"""A score over the gate."""


def batch_of(classes, positions=None, seed=0, channels=CHANNELS):
    generator = torch.Generator().manual_seed(seed)
    positions = range(len(classes)) if positions is None else positions
    positions = torch.tensor(list(positions), dtype=torch.int64)
    features = torch.randn((len(classes), channels), generator=generator)
    classes = torch.tensor(classes, dtype=torch.int64)
    return RegionBatch(features, classes, positions, positions + 100)


def high_scores(regions):
    return torch.full((len(regions.classes),), HIGH)


def write(memory, regions, scores=None):
    memory.stage(regions, high_scores(regions) if scores is None else scores)
    return memory.update()


class LoopMemory:
    """Eq. 3 row by row in float64."""

    def __init__(self, num_slots, momentum, count=0):
        self.slots = {c: [np.zeros(CHANNELS)] * num_slots for c in range(CLASSES)}
        self.visits, self.count = [0] * CLASSES, [count] * CLASSES
        self.num_slots, self.momentum = num_slots, momentum

    def write(self, regions, scores):
        columns = (regions.positions, regions.classes, scores, regions.features)
        rows = sorted(zip(*(column.tolist() for column in columns)))
        for _, c, score, feature in rows:
            if score <= 0.7:
                continue
            slot = self.visits[c] % self.num_slots
            new, old = np.array(feature), self.slots[c][slot]
            if slot < self.count[c]:
                new = self.momentum * old + (1 - self.momentum) * new
            self.slots[c][slot] = new
            self.visits[c] += 1
            self.count[c] = max(self.count[c], slot + 1)


def assert_equals_loop(memory, loop):
    expected = torch.tensor(np.array([loop.slots[c] for c in range(CLASSES)]))
    torch.testing.assert_close(memory.features.double(), expected, atol=1e-6, rtol=0)
    pointers = [visits % loop.num_slots for visits in loop.visits]
    assert memory.pointer.tolist() == pointers
    assert memory.count.tolist() == loop.count


STREAMS = {
    'does not divide the slots': [[0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]],
    'more than the slots': [[0] * 13 + [2] * 6, [0] * 7],
    'partly filled': [[0, 2], [2]],
    'nothing at all': [[], []],
    'nothing now and then': [[1, 1], [], [0, 1], [], [1]],
}


@pytest.mark.parametrize('classes', STREAMS.values(), ids=STREAMS)
def test_writes_equal_a_plain_loop(classes):
    memory, loop = RegionMemory(CLASSES, CHANNELS, **SIZES), LoopMemory(5, 0.9)
    for step, present in enumerate(classes):
        regions = batch_of(present, seed=step)
        assert write(memory, regions) == len(present)
        loop.write(regions, high_scores(regions))
        assert_equals_loop(memory, loop)
    slots = torch.tensor([[i < count for i in range(5)] for count in loop.count])
    assert torch.equal(memory.valid, slots)


def test_two_visits_by_hand():
    memory = RegionMemory(2, 1, num_slots=1, momentum=0.75)
    regions = RegionBatch(
        torch.tensor([[8.0], [4.0]]), *torch.tensor([[1, 1], [0, 1], [0, 0]])
    )
    write(memory, regions)
    assert memory.features.flatten().tolist() == [0, 7]  # .75 * 8 + .25 * 4
    assert memory.valid.tolist() == [[False], [True]]  # the first class is absent


def test_order_is_that_of_positions_then_classes():
    shuffled = batch_of([1, 0, 1, 0, 2], positions=[3, 3, 0, 1, 0])
    ordered = shuffled.select(torch.tensor([2, 4, 3, 1, 0]))
    for column, expected in zip(shuffled.gather(), ordered):
        assert torch.equal(column, expected)
    one, other = (RegionMemory(CLASSES, CHANNELS, **SIZES) for _ in range(2))
    write(one, shuffled)
    write(other, ordered)
    assert torch.equal(one.features, other.features)


def test_gate_is_strict():
    memory, loop = RegionMemory(CLASSES, CHANNELS, **SIZES), LoopMemory(5, 0.9)
    regions = batch_of([0, 1, 2, 0])
    scores = torch.tensor([0.7, 0.71, 0.2, 1.0], dtype=torch.float64)
    assert write(memory, regions, scores) == 2
    loop.write(regions, scores)
    assert_equals_loop(memory, loop)
    assert write(memory, regions, torch.zeros(4)) == 0
    assert_equals_loop(memory, loop)


def test_reference_arrays():
    """Four of six regions pass the gate; they go to the bank's written slots."""
    index = ARRAYS['region/index'].tolist()
    images, classes = torch.tensor(index).T
    features = torch.zeros(6, 16, dtype=torch.float64)
    rows = torch.from_numpy(ARRAYS['paper/memory/region'])
    for row, (image, label, _) in zip(rows, ARRAYS['memory/writes'].tolist()):
        features[index.index([image, label])] = row
    memory = RegionMemory(20, 16, num_slots=6).double()
    memory.features.copy_(torch.from_numpy(ARRAYS['input/bank']))
    memory.pointer.copy_(torch.from_numpy(ARRAYS['input/pointer']))
    memory.count.fill_(6)
    scores = torch.from_numpy(ARRAYS['memory/score'])[images, classes]
    assert write(memory, RegionBatch(features, classes, images, images), scores) == 4
    expected = torch.from_numpy(ARRAYS['paper/memory/bank']).double()
    torch.testing.assert_close(memory.features, expected, rtol=0, atol=1e-9)
    assert memory.pointer.tolist() == ARRAYS['paper/memory/pointer'].tolist()


def test_release_blends_from_the_first_visit_on():
    settings = dict(**SIZES, init='normal', valid_only=False)
    memory = RegionMemory(CLASSES, CHANNELS, **settings)
    loop = LoopMemory(5, 0.9, count=5)
    loop.slots = {c: list(memory.features[c].double().numpy()) for c in range(CLASSES)}
    assert memory.valid.all()
    for step in range(3):
        regions = batch_of([0, 0, 1], seed=step)
        write(memory, regions)
        loop.write(regions, high_scores(regions))
    assert_equals_loop(memory, loop)
    assert memory.valid.all()


def test_normal_start_is_counted():
    torch.manual_seed(1)
    one = RegionMemory(20, 64, num_slots=50, init='normal')
    state = torch.get_rng_state()
    other = RegionMemory(20, 64, num_slots=50, init='normal')
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(one.features, other.features)
    seeded = RegionMemory(20, 64, num_slots=50, init='normal', seed=1)
    assert not torch.equal(one.features, seeded.features)
    # 64,000 numbers: five standard errors
    assert abs(one.features.mean()) < 0.02 and abs(one.features.std() - 1) < 0.015
    assert not one.valid.any()


def test_regions_are_kept_without_their_graph():
    memory = RegionMemory(CLASSES, CHANNELS, **SIZES)
    regions = batch_of([0, 1])
    features = regions.features.requires_grad_()
    write(memory, regions._replace(features=features * 2))
    assert not memory.features.requires_grad
    assert regions.detach().features.requires_grad is False
    assert torch.equal(memory.features[0, 0], 2 * features[0].detach())


def test_lower_precision_is_widened():
    memory = RegionMemory(CLASSES, CHANNELS, **SIZES)
    regions = batch_of([0])
    write(memory, regions._replace(features=regions.features.bfloat16()))
    assert memory.features.dtype == torch.float32
    assert torch.equal(memory.features[0, 0], regions.features[0].bfloat16().float())


def test_batch_of_images():
    means = torch.arange(12.0).reshape(2, 3, 2)
    found = torch.tensor([[True, False, True], [False, True, False]])
    regions = RegionBatch.of_images(means, found, torch.tensor([7, 5]))
    assert regions.features.tolist() == [[0, 1], [4, 5], [8, 9]]
    assert regions.classes.tolist() == [0, 2, 1]
    assert regions.positions.tolist() == [0, 0, 1]
    assert regions.samples.tolist() == [7, 7, 5]
    none = RegionBatch.of_images(means, ~found & found, torch.tensor([7, 5]))
    assert [len(column) for column in none] == [0, 0, 0, 0]
    empty = RegionBatch.empty(means)
    assert [c.shape for c in empty] == [c.shape for c in none]
    assert [c.dtype for c in empty] == [c.dtype for c in none]


def test_staging_again_before_writing():
    memory = RegionMemory(CLASSES, CHANNELS, **SIZES)
    memory.stage(batch_of([]), torch.zeros(0))
    with pytest.raises(ConfigError, match=r"custom_hooks=\[dict\(type='RegionMemoryHo"):
        memory.stage(batch_of([0]), torch.ones(1))
    memory.update()
    assert write(memory, batch_of([0])) == 1
    assert memory.update() == 0  # what is written is forgotten


def test_regions_of_other_sizes():
    memory = RegionMemory(CLASSES, CHANNELS, **SIZES)
    with pytest.raises(ConfigError, match=r'has 4 channels, .* \(6,\); set memory.cha'):
        memory.stage(batch_of([0], channels=6), torch.ones(1))
    with pytest.raises(
        ConfigError, match=r'has 3 classes, .* class 3; set memory.num_'
    ):
        memory.stage(batch_of([0, 3]), torch.ones(2))
    assert write(memory, batch_of([0])) == 1  # nothing refused was kept


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(num_slots=0), 'at least 1, got 3, 4 and 0'),
        (dict(momentum=1.0), r'momentum must be in \[0, 1\), got 1.0'),
        (dict(momentum=-0.1), 'momentum'),
        (dict(init='ones'), "init: expected one of .*, got 'ones'"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ConfigError, match=message):
        RegionMemory(CLASSES, CHANNELS, **settings)


def test_mistyped_key():
    config = dict(type='RegionMemory', num_classes=3, channels=4, num_slot=5)
    with pytest.raises(TypeError, match='num_slot'):
        MODELS.build(config)


# One training of eight steps, four images each, in one process or dealt to two.

STEPS, HALF = 8, 4


def joint_step(step):
    """Regions of all images; even ones have none at all in two steps of four."""
    generator = torch.Generator().manual_seed(step)
    present = torch.rand((4, CLASSES), generator=generator) < 0.6
    present[::2] &= step % 4 < 2
    present &= step != 6
    positions, classes = present.nonzero(as_tuple=True)
    features = torch.randn((len(classes), CHANNELS), generator=generator)
    scores = torch.rand(len(classes), generator=generator) / 2 + 0.5
    return RegionBatch(features, classes, positions, positions), scores


def train(memory, steps, rank=0, world_size=1):
    """Write the share of a process; one without regions stages none in one step."""
    for step in steps:
        regions, scores = joint_step(step)
        own = regions.positions % world_size == rank
        if own.any() or step != 3:
            memory.stage(regions.select(own), scores[own])
        memory.update()
    return {name: buffer.clone() for name, buffer in memory.state_dict().items()}


def make_memory(state=None):
    memory = RegionMemory(CLASSES, CHANNELS, **SIZES)
    if state is not None:
        memory.load_state_dict(state)
    return memory


def train_jointly(rank, half_alone):
    half = train(make_memory(), range(HALF), rank, 2)
    return dict(
        half=half,
        whole=train(make_memory(), range(STEPS), rank, 2),
        resumed=train(make_memory(half), range(HALF, STEPS), rank, 2),
        resumed_from_one=train(make_memory(half_alone), range(HALF, STEPS), rank, 2),
    )


@pytest.fixture(scope='module')
def alone():
    return train(make_memory(), range(HALF)), train(make_memory(), range(STEPS))


@pytest.fixture(scope='module')
def pair(alone, tmp_path_factory):
    return run_joined(train_jointly, tmp_path_factory.mktemp('pair'), alone[0])


def assert_equal_states(one, other, tolerance=0.0):
    assert one.keys() == other.keys() == {'features', 'pointer', 'count'}
    for name, buffer in one.items():
        torch.testing.assert_close(buffer, other[name], rtol=0, atol=tolerance)


def test_training_wraps_and_leaves_gaps(alone):
    """Guards the tests below: the steps reach what they are for."""
    written = [int((joint_step(step)[1] > 0.7).sum()) for step in range(STEPS)]
    assert 0 in written and max(written) > CLASSES
    assert not (joint_step(3)[0].positions % 2 == 0).any()
    pointer, count = alone[1]['pointer'], alone[1]['count']
    assert (pointer[count == 5] > 0).any()  # wrapped
    assert alone[0]['count'].min() < 5


@pytest.mark.parametrize('part', ['half', 'whole', 'resumed', 'resumed_from_one'])
def test_processes_agree_to_the_bit(pair, part):
    assert_equal_states(pair[0][part], pair[1][part])


@pytest.mark.parametrize('part', ['whole', 'resumed', 'resumed_from_one'])
def test_two_processes_equal_one(pair, alone, part):
    assert_equal_states(pair[0][part], alone[1], tolerance=1e-6)


def test_one_process_goes_on_from_two(pair, alone):
    resumed = train(make_memory(pair[0]['half']), range(HALF, STEPS))
    assert_equal_states(resumed, alone[1], tolerance=1e-6)


def test_going_on_from_a_file_equals_not_stopping(alone, tmp_path):
    torch.save(train(make_memory(), range(HALF)), tmp_path / 'half.pth')
    memory = make_memory(torch.load(tmp_path / 'half.pth', weights_only=True))
    assert_equal_states(train(memory, range(HALF, STEPS)), alone[1])


@pytest.mark.parametrize(
    ('sizes', 'shapes'),
    [((2, CHANNELS), r'\(2, 5, 4\)'), ((CLASSES, 8), r'\(3, 5, 8\)')],
    ids=['classes', 'channels'],
)
def test_checkpoint_of_another_model(sizes, shapes):
    model = nn.ModuleDict(dict(memory=make_memory()))
    refuse_other_shapes(model)
    other = nn.ModuleDict(dict(memory=RegionMemory(*sizes, **SIZES)))
    message = rf'memory.features is {shapes} there and \(3, 5, 4\) here'
    with pytest.raises(CheckpointError, match=message):
        model.load_state_dict(other.state_dict(), strict=False)
