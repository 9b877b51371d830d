"""Samplers that count: each index knows the run's seed and its pass over the data."""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.dataset import DefaultSampler, InfiniteSampler

from mmwsss.registry import DATA_SAMPLERS
from mmwsss.utils.randomness import CountedIndex


@DATA_SAMPLERS.register_module()
class CountedSampler(DefaultSampler):
    """mmengine's ``DefaultSampler`` whose indices key the draws of their sample.

    Constructor as there. ``CountedRandomnessHook`` sets the seed of a resumed run,
    ``ResumableEpochLoop`` skips what an interrupted epoch has done.
    """

    skipped = 0
    """Samples of this process that the next pass leaves out."""

    def __iter__(self) -> Iterator[CountedIndex]:
        """Yield this process's share of the epoch, less what is skipped.

        Indices behind the data set's length in the order of all processes repeat the
        epoch's first ones and are marked as padding.
        """
        places = range(self.rank, self.total_size, self.world_size)
        counted = [
            CountedIndex(index, self.seed, self.epoch, place >= len(self.dataset))
            for index, place in zip(super().__iter__(), places)
        ]
        counted, self.skipped = counted[self.skipped :], 0
        return iter(counted)

    def skip(self, num_samples: int) -> None:
        """Leave out the first samples of this process in the next pass."""
        self.skipped = num_samples


@DATA_SAMPLERS.register_module()
class InfiniteCountedSampler(InfiniteSampler):
    """mmengine's ``InfiniteSampler`` whose indices key the draws of their sample.

    Constructor as there; for ``IterBasedTrainLoop``, which fast-forwards it.
    """

    def _infinite_indices(self) -> Iterator[CountedIndex]:
        for position, index in enumerate(super()._infinite_indices()):
            yield CountedIndex(index, self.seed, position // self.size)
