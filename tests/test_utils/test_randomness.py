import copy
import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.structures import BaseDataElement
from torch.utils.data import DataLoader, Dataset

from mmwsss.utils.randomness import (
    CountedIndex,
    StepDraws,
    Use,
    counted_generator,
    counted_seed,
    seed_global_generators,
    training_step,
)


class Echo(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return int(index), index.seed, index.epoch, index.padding


@pytest.mark.parametrize('protocol', range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_counted_index_survives_pickling(protocol):
    for padding in (False, True):
        index = CountedIndex(5, 7, 2, padding)
        for found in (
            pickle.loads(pickle.dumps(index, protocol)),
            copy.deepcopy(index),
        ):
            assert type(found) is CountedIndex
            assert (int(found), found.seed, found.epoch) == (5, 7, 2)
            assert found.padding is padding


def test_counted_index_is_no_padding_unless_said():
    assert CountedIndex(5, 7, 2).padding is False


def test_counted_index_is_an_index():
    index = CountedIndex(2, 7, 1)
    assert 'abc'[index] == 'c'
    assert index == 2 and hash(index) == hash(2)


@pytest.mark.parametrize('workers', [0, 2])
def test_counted_index_reaches_workers(workers):
    order = [CountedIndex(i, 7, 3, i == 1) for i in (4, 0, 5, 1)]
    loader = DataLoader(Echo(), 2, sampler=order, num_workers=workers)
    batches = [torch.stack(batch, 1).tolist() for batch in loader]
    assert batches == [
        [[4, 7, 3, False], [0, 7, 3, False]],
        [[5, 7, 3, False], [1, 7, 3, True]],
    ]


@pytest.mark.parametrize(
    ('key', 'seed'),
    [((0, 1), 2918264622725855778), ((3, 7, 1, 2), 3213600740336428988)],
)
def test_seeds_are_those_of_numpy(key, seed):
    state = np.random.SeedSequence(key).generate_state(2, np.uint32).tolist()
    assert counted_seed(*key) == (state[0] + (state[1] << 32)) // 2
    # Pinned: another number would change every published run.
    assert counted_seed(*key) == seed


def test_seeds_spread():
    keys = [(s, e, i) for s in range(1, 11) for e in range(10) for i in range(1, 21)]
    seeds = np.array([counted_seed(*key) for key in keys], np.uint64)
    assert len(set(seeds.tolist())) == len(keys)
    assert int(seeds.max()) < 2**63
    bits = (seeds[:, None] >> np.arange(63, dtype=np.uint64) & np.uint64(1)).mean(0)
    assert np.abs(bits - 0.5).max() < 5 * 0.5 / len(keys) ** 0.5


def test_seed_refuses_negative_parts():
    with pytest.raises(ValueError, match='non-negative|negative'):
        counted_seed(1, -1)


def numbers():
    return random.random(), np.random.rand(), torch.rand(()).item()


@pytest.mark.parametrize('devices', [True, False])
def test_global_generators(devices):
    seed = counted_seed(1, 2)
    expected = (
        random.Random(seed).random(),
        np.random.RandomState(seed % 2**32).rand(),
        torch.rand((), generator=torch.Generator().manual_seed(seed)).item(),
    )
    seed_global_generators(1, 2, devices=devices)
    assert numbers() == expected != numbers()


@pytest.mark.parametrize(('devices', 'calls'), [(True, 1), (False, 0)])
def test_devices_are_seeded_when_asked(monkeypatch, devices, calls):
    seeds = []
    monkeypatch.setattr(torch.cuda, 'manual_seed_all', seeds.append)
    seed_global_generators(1, 2, devices=devices)
    assert seeds == [counted_seed(1, 2)] * calls


@pytest.fixture
def hub(monkeypatch):
    hub = MessageHub('test_randomness')
    monkeypatch.setattr(MessageHub, 'get_current_instance', lambda: hub)
    return hub


def test_step_before_and_in_a_training(hub):
    assert training_step() == (0, 0)
    hub.update_info('seed', None)
    assert training_step() == (0, 0)
    hub.update_info_dict(dict(seed=3, iter=17))
    assert training_step() == (3, 17)


def first(generators):
    return [torch.rand((), generator=g).item() for g in generators]


def test_draws_are_keyed_as_documented():
    draws = StepDraws(3, 17, samples=(9, 4), stream=2)
    keys = [(Use.IMAGE, 3, 17, 2, 9), (Use.IMAGE, 3, 17, 2, 4)]
    assert first(draws.of_images()) == first(counted_generator(*key) for key in keys)
    key = (Use.BATCH, 3, 17, 2)
    assert first([draws.of_batch()]) == first([counted_generator(*key)])


def test_draws_do_not_depend_on_the_place_in_the_batch():
    whole = StepDraws(3, 17, samples=(9, 4, 6, 1))
    shares = [StepDraws(3, 17, samples=(9, 6)), StepDraws(3, 17, samples=(4, 1))]
    by_sample = dict(zip(whole.samples, first(whole.of_images())))
    for share in shares:
        expected = [by_sample[sample] for sample in share.samples]
        assert first(share.of_images()) == expected
        assert first([share.of_batch()]) == first([whole.of_batch()])


def test_no_two_uses_share_numbers():
    """Also not where keys end in zeros, which ``SeedSequence`` does not count."""
    draws = [
        StepDraws(seed, iteration, samples=(0, 1), stream=stream)
        for seed in (0, 1)
        for iteration in (0, 1)
        for stream in (0, 1)
    ]
    seeds = [g.initial_seed() for d in draws for g in [d.of_batch(), *d.of_images()]]
    for use in (Use.SAMPLE, Use.STEP):
        seeds += [
            counted_seed(use, s, e, i) for s in (0, 1) for e in (0, 1) for i in (0, 1)
        ]
    assert len(set(seeds)) == len(seeds) == 40


def test_branch_changes_the_stream_alone():
    draws = StepDraws(3, 17, samples=(9,))
    assert draws.branch(5) == StepDraws(3, 17, samples=(9,), stream=5)


def test_draws_of_samples(hub):
    hub.update_info_dict(dict(seed=3, iter=17))
    indices = dict(sample_idx=CountedIndex(8, 1, 0)), dict(sample_idx=2)
    samples = [BaseDataElement(metainfo=info) for info in indices]
    assert StepDraws.of(samples) == StepDraws(3, 17, samples=(8, 2))
    assert type(StepDraws.of(samples).samples[0]) is int
    unnamed = [BaseDataElement(), BaseDataElement()]
    assert StepDraws.of(unnamed) == StepDraws(3, 17, samples=(0, 1))
