"""Progress bars with the time left: on a terminal, of the main process alone."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

from mmengine.dist import is_main_process
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

Item = TypeVar('Item')

SECONDS_BETWEEN = 0.1
"""The least time between two drawings."""
SPEED_OVER = 24 * 3600.0
"""Seconds over which speed is averaged, so that steps of an hour have one too."""


class Bar:
    """A line of the display, or nothing where none is shown.

    Args:
        display: What draws, or None.
        task: The line in it.
    """

    def __init__(self, display: Progress | None, task: TaskID | None = None) -> None:
        self._display, self._task = display, task
        self._drawn = time.monotonic()

    def advance(self, count: int = 1) -> None:
        """Tell that so many more steps are done."""
        if self._display is None or self._task is None:
            return
        self._display.advance(self._task, count)
        if time.monotonic() - self._drawn >= SECONDS_BETWEEN:
            self._display.refresh()
            self._drawn = time.monotonic()

    def reach(self, count: int) -> None:
        """Tell that so many steps are done in all."""
        if self._display is not None and self._task is not None:
            self._display.update(self._task, completed=count, refresh=True)

    def describe(self, text: str) -> None:
        """Put another text in front."""
        if self._display is not None and self._task is not None:
            self._display.update(self._task, description=text, refresh=True)


_display: Progress | None = None


def track(
    items: Iterable[Item], description: str, *, total: int | None = None
) -> Iterator[Item]:
    """Yield the items, and show how many have been dealt with.

    Args:
        items: Of any kind; one is done when the next one is asked for.
        description: Words in front of the bar.
        total: Their number, if ``items`` has no length.

    Raises:
        TypeError: if neither tells their number.
    """
    if total is None:
        if not isinstance(items, Sized):
            raise TypeError(f'{description}: items without a length need a total')
        total = len(items)
    with progress_bar(description, total) as bar:
        for item in items:
            yield item
            bar.advance()


@contextmanager
def progress_bar(
    description: str,
    total: int,
    *,
    ticking: bool = False,
    left: ProgressColumn | None = None,
) -> Iterator[Bar]:
    """Show a bar while the context lasts; one within another adds a line to it.

    Args:
        description: Words in front of the bar.
        total: Number of steps; none is shown for 0.
        ticking: Draw at each second, too, by a thread: for long steps that fork no
            process, as a lock that the thread holds would stay closed in there.
        left: What tells the time left; by default the mean time of the steps done.

    Yields:
        What to tell of each step.
    """
    global _display
    if total < 1 or not _shows():
        yield Bar(None)
        return
    if _display is not None:
        display = _display
        task = display.add_task(description, total=total)
        try:
            yield Bar(display, task)
        finally:
            display.remove_task(task)
        return
    display = _new_display(ticking, left)
    _display = display
    try:
        display.start()
        yield Bar(display, display.add_task(description, total=total))
    finally:
        display.stop()
        if _display is display:
            _display = None


def end_bars() -> None:
    """Leave what is shown as it is, so that what is printed next stands below it."""
    global _display
    if _display is not None:
        _display.stop()
        _display = None


def _shows() -> bool:
    """Tell whether someone watches: colours may be forced where nobody does."""
    if multiprocessing.parent_process() is not None or not is_main_process():
        return False
    return Console(stderr=True).is_interactive and sys.stderr.isatty()


def _new_display(ticking: bool, left: ProgressColumn | None) -> Progress:
    return Progress(
        TextColumn('{task.description}', markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        left or TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True),
        auto_refresh=ticking,
        refresh_per_second=1,
        speed_estimate_period=SPEED_OVER,
        # what goes to a file must stay what it is
        redirect_stdout=sys.stdout.isatty(),
    )
