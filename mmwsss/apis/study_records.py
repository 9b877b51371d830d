"""What a run of a study leaves in its folder, and whose the folder is."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mmwsss.utils.errors import ArtefactError

RECORD, FAILURE, PROGRESS = 'record.json', 'failure.txt', 'progress.json'
BEGUN, LOCK, TRAINING = 'settings.digest', 'lock', 'training'


@dataclass(frozen=True)
class RunRecord:
    """What is known of a finished run.

    Args:
        inputs: Digest of its settings.
        figures: Split to figure to value.
        cost: Seconds of training and of measuring, milliseconds an iteration, MiB of
            GPU memory at most (0 on a CPU), parameters that are trained.
        device: Where it ran.
    """

    inputs: str
    figures: dict[str, dict[str, float]]
    cost: dict[str, float] = field(default_factory=dict)
    device: str = ''


def read_record(folder: Path, inputs: str) -> RunRecord | None:
    """Return the record in a run's folder; None if it has not finished.

    Raises:
        ArtefactError: if it cannot be read, or was made with other settings.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        record = RunRecord(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ArtefactError(f'{path} is damaged ({error}); remove it') from error
    if record.inputs != inputs:
        raise stale(folder, 'made')
    return record


def stale(folder: Path, how: str) -> ArtefactError:
    """Return the error of a folder made, or begun, with other settings."""
    return ArtefactError(
        f'{folder} was {how} with other settings; remove it, or choose another '
        '--work-dir'
    )


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Claim a run for this process, until the block ends or the process dies.

    Yields:
        Whether it is ours; False if another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open('a') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
