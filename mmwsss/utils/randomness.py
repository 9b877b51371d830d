"""Counted randomness: every draw comes from a generator keyed by what it is for.

mmengine saves no generator state, so a stream of random numbers differs after a
resume, with another number of workers or of processes. A draw keyed by (seed, epoch
or iteration, sample) is the same in all of them, by construction.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
import torch
from mmengine.logging import MessageHub
from mmengine.structures import BaseDataElement

NUMPY_SEEDS = 2**32
"""``numpy.random.seed`` takes less than this."""


class Use(IntEnum):
    """What a draw is for; first part of its key, so that no two uses share numbers."""

    SAMPLE = 1
    """Augmentation of a sample: (seed, epoch, index)."""
    STEP = 2
    """Third-party layers in an iteration: (seed, iteration, process)."""
    BATCH = 3
    """Draws once a batch: (seed, iteration, stream)."""
    IMAGE = 4
    """Draws for an image of a batch: (seed, iteration, stream, index)."""
    START = 5
    """What a memory starts as: (seed,)."""
    CLUSTERS = 6
    """Where a clustering starts: (seed, clusterings before it)."""


class CountedIndex(int):
    """A sample's index that carries the key of its draws to the data pipeline.

    Args:
        index: Index into the data set.
        seed: The run's seed.
        epoch: How often the data set was passed before, from 0.
        padding: Whether the sample only repeats one of this pass, so that all
            processes get as many.
    """

    seed: int
    epoch: int
    padding: bool

    def __new__(
        cls, index: int, seed: int, epoch: int, padding: bool = False
    ) -> CountedIndex:
        """Make an int with three more attributes; they survive pickling."""
        self = super().__new__(cls, index)
        self.seed = seed
        self.epoch = epoch
        self.padding = padding
        return self

    def __getnewargs__(self) -> tuple[int, int, int, bool]:  # type: ignore[override]
        return int(self), self.seed, self.epoch, self.padding


def counted_seed(*key: int) -> int:
    """Mix a key of integers >= 0 into one seed of 63 bits.

    Zeros at the end of a key do not count: keys of different lengths must differ
    before (see ``Use``).

    Raises:
        ValueError: if a part of the key is negative.

    Example:
        >>> counted_seed(0, 1) == counted_seed(0, 1) != counted_seed(1, 0)
        True
    """
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


def counted_generator(*key: int) -> torch.Generator:
    """Return a CPU generator that depends on nothing but ``key``."""
    return torch.Generator().manual_seed(counted_seed(*key))


def seed_global_generators(*key: int, devices: bool = True) -> None:
    """Seed Python's, NumPy's and torch's global generators from ``key``.

    Args:
        key: As of ``counted_seed``.
        devices: Whether those of GPUs too; data pipelines leave them to the model.
    """
    seed = counted_seed(*key)
    random.seed(seed)
    np.random.seed(seed % NUMPY_SEEDS)
    if devices:
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def training_step() -> tuple[int, int]:
    """Return the (seed, iteration) of the running training, (0, 0) before any.

    Both come from mmengine's message hub, where the runner keeps them, so that a
    model can key its draws without a reference to the runner.
    """
    hub = MessageHub.get_current_instance()
    return int(hub.get_info('seed', 0) or 0), int(hub.get_info('iter', 0) or 0)


def training_epoch() -> int:
    """Return the running epoch, from 0; 0 outside of training."""
    return int(MessageHub.get_current_instance().get_info('epoch', 0) or 0)


def training_share() -> float:
    """Return the part of the running training that is over, in [0, 1); 0 outside."""
    hub = MessageHub.get_current_instance()
    whole = int(hub.get_info('max_iters', 0) or 0)
    return training_step()[1] / whole if whole else 0.0


@dataclass(frozen=True)
class StepDraws:
    """The draws of one training step, apart for each image and for the batch.

    Draws for an image do not depend on its place in the batch nor on the process that
    has it; draws for the batch are the same on all processes.
    """

    seed: int
    iteration: int
    samples: tuple[int, ...]
    """Index of each image of the batch in its data set."""
    stream: int = 0
    """Separates uses within a step, such as the views of a composition."""

    @classmethod
    def of(cls, data_samples: Sequence[BaseDataElement]) -> StepDraws:
        """Key the running step; samples without ``sample_idx`` count as 0, 1, ..."""
        indices = (s.get('sample_idx', i) for i, s in enumerate(data_samples))
        return cls(*training_step(), samples=tuple(int(index) for index in indices))

    def branch(self, stream: int) -> StepDraws:
        """Return the draws of another use in the same step."""
        return replace(self, stream=stream)

    def of_batch(self) -> torch.Generator:
        """Return the generator of what is drawn once a batch."""
        return counted_generator(Use.BATCH, self.seed, self.iteration, self.stream)

    def of_images(self) -> list[torch.Generator]:
        """Return one generator an image."""
        key = (Use.IMAGE, self.seed, self.iteration, self.stream)
        return [counted_generator(*key, sample) for sample in self.samples]
