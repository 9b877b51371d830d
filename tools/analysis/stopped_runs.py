"""Runs of a pipeline that are killed at chosen moments, and what they have made."""

import fcntl
import gc
import importlib
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Protocol

import torch

from mmwsss.apis import pipeline
from mmwsss.utils.checkpoint import find_checkpoint, read_checkpoint
from mmwsss.utils.digests import digest_file, digest_json, digest_tensors
from mmwsss.utils.errors import WSSSError

REPOSITORY = Path(__file__).resolve().parents[2]
TOOL = REPOSITORY / 'tools/run_pipeline.py'
LABELLED = ('labels', 'affinity_labels')
TRAINED = ('classifier', 'refinement', 'segmentor')
COMPARED = (
    *('data/**/*', *(f'{name}/**/*' for name in LABELLED)),
    *('seeds/*.json', 'seeds/*.npz', 'test/metrics.json', 'stages/*.begun'),
)
IMPORTED = (
    *('mmseg.models', 'mmseg.visualization', 'mmpretrain.evaluation', 'matplotlib'),
    *('mmwsss.apis.pipeline_stages', 'mmwsss.apis.pseudo_labels', 'mmwsss.models'),
    *('mmwsss.apis.accumulated_store', 'mmwsss.evaluation', 'mmwsss.engine.hooks'),
    *('mmwsss.engine.loops', 'mmwsss.datasets.synthetic', 'mmwsss.visualization'),
)
POLL_SECONDS = 0.002


@dataclass(frozen=True)
class Moment:
    """A moment to kill a run at.

    Args:
        stage: The stage it lies in.
        name: What has just happened.
        files: Pattern of files below the work directory to wait for.
        count: How many of them.
        lines: Texts of which the stage's log must gain one, in place of files.
        seconds: Time since the start to wait for, in place of both.
    """

    stage: str
    name: str
    files: str = ''
    count: int = 1
    lines: tuple[str, ...] = ()
    seconds: float = 0.0

    def watch(self, work_dir: Path) -> Callable[[], bool]:
        """Return a function that tells whether the moment has come."""
        if self.seconds:
            end = time.monotonic() + self.seconds
            return lambda: time.monotonic() >= end
        if self.files:
            return lambda: len(list(work_dir.glob(self.files))) >= self.count
        log = work_dir / 'logs' / f'{self.stage}.log'
        begin = log.stat().st_size if log.exists() else 0

        def has_line() -> bool:
            if not log.exists():
                return False
            with log.open('rb') as file:
                file.seek(begin)
                content = file.read()
            return any(line.encode() in content for line in self.lines)

        return has_line


class Process(Protocol):
    """A run of the pipeline, leader of a process group of its own."""

    pid: int

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        ...

    def wait(self) -> int:
        """Wait for its end and return the exit code."""
        ...


class Chain:
    """A pipeline config in a work directory, run by processes that can be killed.

    Args:
        config: File of the pipeline config.
        work_dir: Folder of the run.
        until: Last stage to run; None is the chain's last.
        forked: Whether pipeline and tools are forked from this process, which has
            imported all they need (``import_all``), rather than started anew.
    """

    def __init__(
        self,
        config: Path,
        work_dir: Path,
        *,
        until: str | None = None,
        forked: bool = False,
    ) -> None:
        self.work_dir = work_dir
        self.arguments = [str(config), '--work-dir', str(work_dir)]
        self.arguments += ['--until', until] if until else []
        self.forked = forked

    def start(self) -> Process:
        """Start the pipeline as leader of a process group of its own."""
        self.work_dir.mkdir(parents=True, exist_ok=True)
        # processes of a killed run are gone when the lock they shared is free
        with (self.work_dir / 'pipeline.lock').open('a') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
        with (self.work_dir / 'run.log').open('a') as log:
            if self.forked:
                return Fork(
                    str(TOOL), self.arguments, log, leads=True, before=fork_tools
                )
            return subprocess.Popen(
                [sys.executable, str(TOOL), *self.arguments],
                cwd=REPOSITORY,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {'PYTHONPATH': str(REPOSITORY)},
            )

    def kill_at(self, moment: Moment) -> dict:
        """Run until a moment, at the latest until its stage ends, and kill all.

        Returns:
            Stage, moment, whether it was killed, and whether the stage was unfinished.
        """
        has_come = moment.watch(self.work_dir)
        record = self.work_dir / f'stages/{moment.stage}.json'
        process = self.start()
        while process.poll() is None and not has_come() and not record.exists():
            time.sleep(POLL_SECONDS)
        killed = process.poll() is None
        if killed:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return dict(
            stage=moment.stage,
            moment=moment.name,
            killed=killed,
            unfinished=not record.exists(),
        )

    def complete(self) -> float:
        """Run to the end and return the seconds.

        Raises:
            WSSSError: if it fails.
        """
        started = time.monotonic()
        if self.start().wait():
            raise WSSSError(f'the pipeline failed, see {self.work_dir}/run.log')
        return time.monotonic() - started


class Fork:
    """A Python file run as a program in a fork of this process.

    Args:
        path: The file.
        arguments: Of its command line.
        log: Where it writes.
        leads: Whether it leads a process group of its own.
        before: Called in the fork before the file is run.
    """

    def __init__(
        self,
        path: str,
        arguments: Sequence[str],
        log: IO[str],
        *,
        leads: bool = False,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
                sys.stdout = os.fdopen(1, 'w', closefd=False)
                sys.stderr = os.fdopen(2, 'w', closefd=False, buffering=1)
                if leads:
                    os.setpgid(0, 0)
                before()
                sys.argv = [path, *arguments]
                runpy.run_path(path, run_name='__main__')
                status = 0
            except SystemExit as stop:
                status = int(stop.code or 0)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(status)
        if leads:
            # here too: the group may be killed before the fork comes that far
            os.setpgid(self.pid, self.pid)

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        if self.code is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def wait(self) -> int:
        """Wait for its end and return the exit code."""
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code


def fork_tools() -> None:
    """Let the pipeline fork its tools as well."""

    def run(
        line: Sequence[str],
        *,
        stdout: IO[str],
        stderr: int,
        env: dict[str, str],
        pass_fds: Sequence[int],
        check: bool,
    ) -> SimpleNamespace:
        if line[0] != sys.executable:
            raise WSSSError(f'{line[0]} cannot be forked: ask for one process each')
        return SimpleNamespace(returncode=Fork(line[1], line[2:], stdout).wait())

    vars(pipeline)['subprocess'] = SimpleNamespace(run=run, STDOUT=subprocess.STDOUT)


def import_all() -> None:
    """Import what tools need, and leave out what mmengine spends most time on."""
    torch.set_num_threads(1)
    for name in IMPORTED:
        importlib.import_module(name)
    runner = importlib.import_module('mmengine.runner.runner')
    formatter = importlib.import_module('yapf.yapflib.yapf_api')
    # it asks compilers for their versions, and lays out configs for each checkpoint
    vars(runner)['collect_env'] = dict
    vars(formatter)['FormatCode'] = lambda code, **_: (code, True)
    gc.freeze()


def contents(work_dir: Path) -> dict[str, str]:
    """Return a digest of each thing that a run must give whether stopped or not."""
    files = (path for pattern in COMPARED for path in work_dir.glob(pattern))
    found = {
        path.relative_to(work_dir).as_posix(): digest_file(path)
        for path in files
        if path.is_file()
    }
    for name in TRAINED:
        if (work_dir / name).is_dir():
            checkpoint = read_checkpoint(find_checkpoint(work_dir / name))
            found |= {f'{name}: {key}': v for key, v in trained(checkpoint).items()}
    return found


def trained(checkpoint: dict) -> dict[str, str]:
    """Return digests of weights, of the optimizer's state, and of schedules."""
    optimizer = checkpoint['optimizer']
    state = {
        f'{key} {part}': value
        for key, parts in optimizer['state'].items()
        for part, value in parts.items()
        if isinstance(value, torch.Tensor)
    }
    return dict(
        weights=digest_tensors(checkpoint['state_dict']),
        optimizer=digest_tensors(state),
        schedules=digest_json(
            [checkpoint['param_schedulers'], optimizer['param_groups']]
        ),
    )


def compare(straight: dict[str, str], stopped: dict[str, str]) -> dict[str, dict]:
    """Return by kind how many things are equal, and which differ."""
    kinds: dict[str, dict] = {}
    for name in sorted(straight.keys() | stopped.keys()):
        parts = name.split('/')
        kind = '/'.join(parts[: 2 if parts[0] in LABELLED else 1])
        entry = kinds.setdefault(kind, dict(equal=0, differing=[]))
        if straight.get(name) == stopped.get(name):
            entry['equal'] += 1
        else:
            entry['differing'].append(name)
    return kinds
