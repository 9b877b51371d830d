"""Fill a study's table: processes that share its runs, and what they have finished."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mmwsss.apis.pipeline import REPOSITORY
from mmwsss.apis.study_plan import Study, StudyRun
from mmwsss.apis.study_records import (
    FAILURE,
    PROGRESS,
    RECORD,
    RunRecord,
    claimed,
    read_record,
)
from mmwsss.utils.atomic import remove_file

POLL_SECONDS = 0.5
GRACE_SECONDS = 20


@dataclass(frozen=True)
class Progress:
    """How far a study is.

    Args:
        done: Finished runs, and parts of those begun.
        finished: Names of finished runs.
        failed: Names of failed runs.
        running: Name to share done, of those begun and neither finished nor failed.
        total: All runs.
    """

    done: float
    finished: tuple[str, ...]
    failed: tuple[str, ...]
    running: dict[str, float]
    total: int


def collect(study: Study, work_dir: Path) -> dict[StudyRun, RunRecord]:
    """Return the records of all finished runs.

    Raises:
        ArtefactError: if one is damaged or was made with other settings.
    """
    found = {}
    for run in study.runs():
        record = read_record(work_dir / run.name, study.digest_of(run))
        if record is not None:
            found[run] = record
    return found


def progress_of(study: Study, work_dir: Path) -> Progress:
    """Return how far a study is, from the files that its processes write."""
    finished, failed, running = [], [], {}
    for run in study.runs():
        folder = work_dir / run.name
        if (folder / RECORD).exists():
            finished.append(run.name)
        elif (folder / FAILURE).exists():
            failed.append(run.name)
        elif (folder / PROGRESS).exists():
            # a file in the middle of being written counts at the next look
            with suppress(ValueError, OSError):
                running[run.name] = json.loads((folder / PROGRESS).read_text())['done']
    return Progress(
        done=len(finished) + sum(running.values()),
        finished=tuple(finished),
        failed=tuple(failed),
        running=running,
        total=len(study.runs()),
    )


def forget_failures(study: Study, work_dir: Path) -> None:
    """Let failed runs be tried again, except those another process is at."""
    for run in study.runs():
        folder = work_dir / run.name
        if (folder / FAILURE).exists():
            with claimed(folder) as ours:
                if ours:
                    remove_file(folder / FAILURE)


KEPT_MEMORY = {'MALLOC_MMAP_MAX_': '0', 'MALLOC_TRIM_THRESHOLD_': str(1 << 40)}
"""Has glibc keep what a training step frees: on a CPU, to map memory anew for each
attention matrix takes much of the step's time."""


def environment_of(job: int, *, jobs: int, device: str) -> dict[str, str]:
    """Return the environment of one of several processes on this machine.

    Args:
        job: Its number, from 0.
        jobs: How many there are.
        device: ``auto``, ``cpu``, or numbers of GPUs, ``0,1``, dealt out in turn.
    """
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.getenv('PYTHONPATH')]))
    threads = max(1, (os.cpu_count() or 1) // jobs)
    environment = {'OMP_NUM_THREADS': str(threads), 'OMP_WAIT_POLICY': 'PASSIVE'}
    environment |= KEPT_MEMORY
    environment |= os.environ | {'PYTHONPATH': path, 'MPLBACKEND': 'Agg'}
    if device == 'cpu':
        environment['CUDA_VISIBLE_DEVICES'] = ''
    elif device != 'auto':
        numbers = device.split(',')
        environment['CUDA_VISIBLE_DEVICES'] = numbers[job % len(numbers)]
    return environment


def run_study(
    study: Study,
    work_dir: Path,
    command: Sequence[str],
    *,
    jobs: int,
    device: str = 'auto',
    seconds: float | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> bool:
    """Run a study by several processes until all is done or the time is up.

    Args:
        study: The study.
        work_dir: Its folder.
        command: Arguments of the Python that does runs until none is left
            (``study_runs.work``).
        jobs: Processes at once, at most as many as runs are left.
        device: As of ``environment_of``.
        seconds: When to end the processes; what they were at goes on from its last
            checkpoint with the next call.
        on_progress: Called a few times a second.

    Returns:
        Whether every run has finished.
    """
    forget_failures(study, work_dir)
    begun = progress_of(study, work_dir)
    jobs = min(jobs, begun.total - len(begun.finished))
    logs = work_dir / 'logs'
    logs.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    workers = []
    try:
        for job in range(jobs):
            with (logs / f'job_{job}.log').open('a') as log:
                workers.append(
                    subprocess.Popen(
                        [sys.executable, *command],
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        env=environment_of(job, jobs=jobs, device=device),
                    )
                )
        while any(worker.poll() is None for worker in workers):
            on_progress(progress_of(study, work_dir))
            if seconds is not None and time.monotonic() - started > seconds:
                break
            time.sleep(POLL_SECONDS)
    finally:
        _end(workers)
    progress = progress_of(study, work_dir)
    on_progress(progress)
    return len(progress.finished) == progress.total


def _end(workers: Sequence[subprocess.Popen]) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.terminate()
    for worker in workers:
        try:
            worker.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
