import itertools

import mmengine.dataset.sampler as mmengine_sampler
import pytest
from mmengine.dataset import DefaultSampler, InfiniteSampler

from mmwsss.datasets.samplers import CountedSampler, InfiniteCountedSampler
from mmwsss.registry import DATA_SAMPLERS
from mmwsss.utils.randomness import CountedIndex

DATA = range(11)


@pytest.fixture
def on_rank(monkeypatch):
    def on_rank(rank, world_size):
        info = lambda: (rank, world_size)
        monkeypatch.setattr(mmengine_sampler, 'get_dist_info', info)

    return on_rank


def plain(indices):
    return [int(index) for index in indices]


def marks(indices):
    return {(type(index), index.seed, index.epoch) for index in indices}


RANKS = [(0, 1), (0, 2), (1, 2), (2, 3)]


@pytest.mark.parametrize(('rank', 'world_size'), RANKS)
@pytest.mark.parametrize('settings', [{}, dict(shuffle=False), dict(round_up=False)])
def test_order_is_that_of_mmengine(on_rank, rank, world_size, settings):
    on_rank(rank, world_size)
    ours, theirs = (
        kind(DATA, seed=5, **settings) for kind in (CountedSampler, DefaultSampler)
    )
    for epoch in range(3):
        ours.set_epoch(epoch)
        theirs.set_epoch(epoch)
        indices = list(ours)
        assert plain(indices) == list(theirs)
        assert marks(indices) == {(CountedIndex, 5, epoch)}
        assert len(ours) == len(indices) == len(theirs)


@pytest.mark.parametrize(('rank', 'world_size'), RANKS)
def test_skip_leaves_out_once(on_rank, rank, world_size):
    on_rank(rank, world_size)
    sampler = CountedSampler(DATA, seed=5)
    whole = plain(sampler)
    sampler.skip(2)
    assert plain(sampler) == whole[2:]
    assert plain(sampler) == whole
    sampler.skip(len(sampler))
    assert plain(sampler) == []
    assert len(sampler) == len(whole)


@pytest.mark.parametrize('shuffle', [True, False])
@pytest.mark.parametrize('world_size', [1, 2, 3, 4, 11, 30])
def test_padding_is_what_other_indices_repeat(on_rank, world_size, shuffle):
    shares = []
    for rank in range(world_size):
        on_rank(rank, world_size)
        sampler = CountedSampler(DATA, seed=5, shuffle=shuffle)
        shares.append(list(sampler))
        sampler.skip(len(sampler) - 1)
        assert [i.padding for i in sampler] == [shares[-1][-1].padding]
    dealt = [index for turn in zip(*shares, strict=True) for index in turn]
    assert sorted(i for i in dealt if not i.padding) == list(DATA)
    assert [i.padding for i in dealt] == [False] * 11 + [True] * (len(dealt) - 11)


def test_nothing_is_padding_where_none_is_added(on_rank):
    for rank in range(3):
        on_rank(rank, 3)
        sampler = CountedSampler(DATA, seed=5, round_up=False)
        assert not any(index.padding for index in sampler)
        endless = InfiniteCountedSampler(DATA, seed=5)
        assert not any(index.padding for index in itertools.islice(endless, 40))


def test_skip_counts_of_the_running_pass_alone():
    sampler = CountedSampler(DATA, seed=5)
    sampler.skip(4)
    running = iter(sampler)
    sampler.skip(9)
    assert len(list(running)) == 7


@pytest.mark.parametrize(('rank', 'world_size'), RANKS)
@pytest.mark.parametrize('shuffle', [True, False])
def test_infinite_order_is_that_of_mmengine(on_rank, rank, world_size, shuffle):
    on_rank(rank, world_size)
    ours, theirs = (
        list(itertools.islice(kind(DATA, shuffle=shuffle, seed=5), 40))
        for kind in (InfiniteCountedSampler, InfiniteSampler)
    )
    assert plain(ours) == theirs
    epochs = [(rank + world_size * k) // len(DATA) for k in range(40)]
    assert [index.epoch for index in ours] == epochs
    assert {index.seed for index in ours} == {5}


def test_infinite_processes_share_each_pass(on_rank):
    seen = []
    for rank in range(2):
        on_rank(rank, 2)
        seen.append(list(itertools.islice(InfiniteCountedSampler(DATA, seed=5), 22)))
    for epoch in range(4):
        indices = [int(i) for share in seen for i in share if i.epoch == epoch]
        assert sorted(indices) == list(DATA)


@pytest.mark.skipif(
    not hasattr(InfiniteSampler, 'skip'), reason='this mmengine steps the loader'
)
def test_infinite_skip_keeps_the_count():
    straight = list(itertools.islice(InfiniteCountedSampler(DATA, seed=5), 30))
    sampler = InfiniteCountedSampler(DATA, seed=5)
    sampler.skip(13)
    resumed = list(itertools.islice(sampler, 17))
    assert plain(resumed) == plain(straight[13:])
    assert [i.epoch for i in resumed] == [i.epoch for i in straight[13:]]


def test_seed_may_be_set_before_the_first_index():
    """So a resumed run takes the seed of its checkpoint."""
    late = InfiniteCountedSampler(DATA, seed=1)
    late.seed = 5
    early = InfiniteCountedSampler(DATA, seed=5)
    assert plain(itertools.islice(late, 20)) == plain(itertools.islice(early, 20))


@pytest.mark.parametrize('kind', ['CountedSampler', 'InfiniteCountedSampler'])
def test_mistyped_key(kind):
    with pytest.raises(TypeError, match='shufle'):
        DATA_SAMPLERS.build(dict(type=kind, dataset=DATA, shufle=True))
