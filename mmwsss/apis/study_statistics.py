"""Figures over seeds: mean, spread, and the paired difference to a baseline."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

Values = Mapping[int, float]
"""Seed to a figure."""


@dataclass(frozen=True)
class Summary:
    """A figure over seeds.

    Args:
        mean: Their mean.
        deviation: Sample standard deviation (n - 1); None of fewer than two seeds.
        count: Number of seeds.
    """

    mean: float
    deviation: float | None
    count: int

    @property
    def error(self) -> float | None:
        """Standard error of the mean."""
        if self.deviation is None:
            return None
        return self.deviation / math.sqrt(self.count)


def summarize(values: Values) -> Summary | None:
    """Return a figure's summary; None where no seed has one.

    NaN (a figure that is not defined for that run) is left out.

    Example:
        >>> summarize({0: 1.0, 1: 3.0})
        Summary(mean=2.0, deviation=1.4142135623730951, count=2)
    """
    known = [value for value in values.values() if not math.isnan(value)]
    if not known:
        return None
    deviation = statistics.stdev(known) if len(known) > 1 else None
    return Summary(statistics.fmean(known), deviation, len(known))


def paired_difference(values: Values, baseline: Values) -> Summary | None:
    """Summarize a figure's differences to the baseline, seed by seed.

    Seeds that only one of the two has are left out. A seed decides the order of the
    images and all draws, so both share much of its luck: the spread of the differences
    is the one that matters, not the two spreads added.

    Example:
        >>> paired_difference({0: 5.0, 1: 8.0, 2: 1.0}, {0: 4.0, 1: 6.0})
        Summary(mean=1.5, deviation=0.7071067811865476, count=2)
    """
    common = values.keys() & baseline.keys()
    return summarize({seed: values[seed] - baseline[seed] for seed in sorted(common)})


def time_left(done: float, total: float, seconds: float) -> float | None:
    """Return the seconds that the rest needs at the pace so far.

    Args:
        done: Runs done in these seconds, parts of runs included.
        total: Runs that there were to do.
        seconds: Time so far.

    Returns:
        Seconds, or None before anything is done.

    Example:
        >>> time_left(0.5, 2, 10.0)
        30.0
    """
    return (total - done) * seconds / done if done > 0 else None
