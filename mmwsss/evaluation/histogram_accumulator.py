"""Sum of the images' histograms over processes, each image counted once."""

from collections import Counter

import torch
from mmengine.dist import all_gather_object, all_reduce, get_rank
from torch import Tensor

from mmwsss.utils.errors import DataError

SampleId = tuple[int | None, str | None]


class HistogramAccumulator:
    """Adds up integer histograms of images; any number of processes.

    Samplers that give every process the same number of images repeat some of them, at
    most one a process and there as its last. So a process keeps its last histogram
    apart until all processes know which images the others hold.

    Args:
        shape: Shape of the histograms.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._total: Tensor | None = None
        self._seen: set[SampleId] = set()
        self._pending: tuple[SampleId, Tensor] | None = None

    def add(self, sample_id: SampleId, histogram: Tensor) -> None:
        """Add the histogram of one image.

        Args:
            sample_id: Index in the data set and path of the image, either may be None.
            histogram: int64 of the accumulator's shape, on any one device.

        Raises:
            DataError: if this process saw the image before.
        """
        if self._pending is not None:
            self._commit(*self._pending)
        if sample_id in self._seen:
            raise _repeated([sample_id])
        self._pending = (sample_id, histogram)

    def reduce(self) -> tuple[Tensor, int]:
        """Sum over all processes; every process must call it and gets the sum.

        Returns:
            The histogram on the CPU, and the number of different images in it.

        Raises:
            DataError: if an image was repeated other than by the sampler's padding.
        """
        pending = None if self._pending is None else self._pending[0]
        gathered = all_gather_object((sorted(self._seen, key=repr), pending))
        times = Counter(sample for seen, _ in gathered for sample in seen)
        repeated = [sample for sample, count in times.items() if count > 1]
        if repeated:
            raise _repeated(repeated)
        last = [sample for _, sample in gathered]
        if self._pending is not None:
            counted_elsewhere = pending in times or pending in last[: get_rank()]
            if not counted_elsewhere:
                self._commit(*self._pending)
        total = torch.zeros(self.shape, dtype=torch.int64)
        if self._total is not None:
            total.copy_(self._total)
        all_reduce(total)
        return total, len(set(times) | {sample for sample in last if sample})

    def _commit(self, sample_id: SampleId, histogram: Tensor) -> None:
        self._seen.add(sample_id)
        self._pending = None
        if self._total is None:
            self._total = histogram.clone()
        else:
            self._total += histogram


def _repeated(samples: list[SampleId]) -> DataError:
    index, path = samples[0]
    return DataError(
        f'image {path or index} was evaluated more than once ({len(samples)} such '
        'images); use a sampler without repeats, e.g. DefaultSampler(shuffle=False)'
    )
