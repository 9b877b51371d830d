"""The chain from tags to a tested segmentor: its stages and where it stopped.

A stage is one of our tools run on a config. When it has finished, a record is written
that names what it was made from (settings and outputs of the stages before it) and what
it made. A rerun skips stages with a valid record and refuses those made, or begun, from
something else, so that no figure rests on stale labels.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmwsss.utils.atomic import (
    atomic_write_text,
    named_write_errors,
    remove_file,
    write_error,
)
from mmwsss.utils.digests import digest_json
from mmwsss.utils.errors import ArtefactError, ConfigError, WSSSError
from mmwsss.utils.packaged_files import CONFIGS

REPOSITORY = CONFIGS.parent
"""Holds configs and tools: the repository, or its part in an installed package."""
SHOWN_LOG_LINES = 15


class StageError(WSSSError):
    """A stage's tool has failed.

    Args:
        message: Stage, exit code, log and remedy.
        log_end: Last lines of the log.
    """

    def __init__(self, message: str, log_end: str) -> None:
        super().__init__(message)
        self.log_end = log_end


@dataclass(frozen=True)
class Stage:
    """One step of the chain.

    Args:
        name: Name.
        commands: Tools with their arguments, run in turn.
        files: All files and folders that it makes.
        settings: Everything of the config that decides what the stage makes.
        output: Digest of what it has made; OSError or WSSSError if that is not there.
        quality: Figures to show once it has finished.
        prepare: Called before the commands.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    files: tuple[Path, ...]
    settings: Mapping[str, Any]
    output: Callable[[], str]
    quality: Callable[[], dict[str, float]]
    prepare: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Record:
    """What is known of a finished stage.

    Args:
        inputs: Digest of its settings and of the outputs before it.
        output: Digest of what it made.
        seconds: Time of the run that finished it.
        quality: Its figures.
    """

    inputs: str
    output: str
    seconds: float
    quality: dict[str, float]


class Pipeline:
    """Stages in their order, in one work directory.

    Args:
        stages: The stages.
        work_dir: Folder of records and logs.
    """

    def __init__(self, stages: Sequence[Stage], work_dir: str | Path) -> None:
        self.stages = list(stages)
        self.work_dir = Path(work_dir)
        self._lock: tuple[int, ...] = ()

    def record(self, stage: Stage) -> Record | None:
        """Return the record of a finished stage, None if it has not finished.

        Raises:
            ArtefactError: if the record cannot be read.
        """
        path = self._record_path(stage)
        if not path.exists():
            return None
        try:
            return Record(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise ArtefactError(
                f'{path} is damaged ({error}); redo the stage with --from {stage.name}'
            ) from error

    def plan(
        self, *, first: str | None = None, until: str | None = None
    ) -> list[Stage]:
        """Return the stages still to run.

        Args:
            first: Stage to run in any case, with all behind it.
            until: Last stage to run; None is the chain's last.

        Raises:
            ArtefactError: if a finished stage rests on other settings or inputs than
                today's, or its output has changed since.
            ConfigError: if a stage does not exist, or ``until`` is before ``first``.
        """
        end = len(self.stages) if until is None else self._index(until) + 1
        start = end if first is None else self._index(first)
        if first is not None and start >= end:
            raise ConfigError(f'--from {first} is behind --until {until}')
        outputs: list[str] = []
        for index, stage in enumerate(self.stages[:end]):
            record = None if index >= start else self.record(stage)
            if record is None:
                return self.stages[index:end]
            self._check(stage, record, outputs)
            outputs.append(record.output)
        return []

    def forget_from(self, name: str) -> None:
        """Remove records and files of a stage and of all behind it.

        Raises:
            ArtefactError: if a file cannot be removed.
        """
        # Stopped half-way, what is left still rests on all that is before it.
        for stage in reversed(self.stages[self._index(name) :]):
            for path in stage.files:
                _remove(path)
            remove_file(self._record_path(stage))
            remove_file(self._begun_path(stage))

    def run(
        self,
        *,
        first: str | None = None,
        until: str | None = None,
        on_start: Callable[[Stage], None] = lambda stage: None,
        on_end: Callable[[Stage, Record], None] = lambda stage, record: None,
    ) -> None:
        """Run what is still to run.

        Args:
            first: Stage to make anew, with all behind it.
            until: As of ``plan``.
            on_start: Called before each stage.
            on_end: Called with its record behind each stage.

        Raises:
            ArtefactError: as ``plan``; also if another run is at work, a stage was
                begun with other settings or inputs, or a file cannot be written.
            ConfigError: as ``plan``.
            StageError: if a tool fails; what finished before it is kept.
        """
        with named_write_errors(self.work_dir), self._alone():
            stages = self.plan(first=first, until=until)
            if first is not None:
                self.forget_from(first)
            for stage in stages:
                self._begin(stage)
                on_start(stage)
                on_end(stage, self._finish(stage))

    def _begin(self, stage: Stage) -> None:
        """Write down what a stage is made from, so that nothing else finishes it."""
        path, inputs = self._begun_path(stage), self._inputs_of(stage)
        begun = path.read_text().strip() if path.exists() else None
        if begun is None and any(file.exists() for file in stage.files):
            begun = 'unknown'
        if begun not in (None, inputs):
            raise self._stale(stage, 'begun')
        for later in self.stages[self._index(stage.name) :]:
            remove_file(self._record_path(later))
        atomic_write_text(path, f'{inputs}\n')

    def _finish(self, stage: Stage) -> Record:
        started = time.monotonic()
        stage.prepare()
        for command in stage.commands:
            self._call(stage, command)
        record = Record(
            inputs=self._inputs_of(stage),
            output=stage.output(),
            seconds=round(time.monotonic() - started, 1),
            quality=stage.quality(),
        )
        text = json.dumps(asdict(record), indent=1, sort_keys=True)
        atomic_write_text(self._record_path(stage), text + '\n')
        return record

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other runs out of the work directory, also while a tool outlives us."""
        path = self.work_dir / 'pipeline.lock'
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open('a') as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ArtefactError(
                    f'{self.work_dir}: another run is at work, or a tool that a killed '
                    'run left behind; wait for it or end it'
                ) from error
            self._lock = (file.fileno(),)
            try:
                yield
            finally:
                self._lock = ()

    def _call(self, stage: Stage, command: Sequence[str]) -> None:
        log = self.work_dir / 'logs' / f'{stage.name}.log'
        log.parent.mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join(filter(None, [str(REPOSITORY), os.getenv('PYTHONPATH')]))
        with log.open('a') as file:
            result = subprocess.run(
                command_line(command),
                stdout=file,
                stderr=subprocess.STDOUT,
                env=os.environ | {'PYTHONPATH': path, 'PYTHON': sys.executable},
                pass_fds=self._lock,
                check=False,
            )
        if result.returncode:
            lines = log.read_text(errors='replace').splitlines()
            how = f'failed with exit code {result.returncode}'
            if result.returncode < 0:
                signal = -result.returncode
                how = f'was killed by signal {signal}, as for want of memory'
            raise StageError(
                f'stage {stage.name} {how}; its log is {log}; mend the cause, then run '
                'the same command to go on',
                log_end='\n'.join(lines[-SHOWN_LOG_LINES:]),
            )

    def _check(self, stage: Stage, record: Record, outputs: list[str]) -> None:
        if record.inputs != self._inputs(stage, outputs):
            raise self._stale(stage, 'made')
        try:
            found = stage.output()
        except (OSError, WSSSError) as error:
            found = str(error)
        if found != record.output:
            raise ArtefactError(
                f'{self.work_dir}: what stage {stage.name} made has changed or is '
                f'gone; make it again with --from {stage.name}'
            )

    def _stale(self, stage: Stage, how: str) -> ArtefactError:
        return ArtefactError(
            f'{self.work_dir}: stage {stage.name} was {how} with other settings or '
            f'inputs; make it again with --from {stage.name}, or choose another '
            '--work-dir'
        )

    def _inputs_of(self, stage: Stage) -> str:
        records = map(self.record, self.stages[: self._index(stage.name)])
        outputs = [record.output for record in records if record is not None]
        return self._inputs(stage, outputs)

    @staticmethod
    def _inputs(stage: Stage, outputs: Sequence[str]) -> str:
        return digest_json(dict(settings=dict(stage.settings), before=list(outputs)))

    def _record_path(self, stage: Stage) -> Path:
        return self.work_dir / 'stages' / f'{stage.name}.json'

    def _begun_path(self, stage: Stage) -> Path:
        return self.work_dir / 'stages' / f'{stage.name}.begun'

    def _index(self, name: str) -> int:
        names = [stage.name for stage in self.stages]
        if name not in names:
            raise ConfigError(f'no stage {name!r}; stages are {", ".join(names)}')
        return names.index(name)


def command_line(command: Sequence[str]) -> list[str]:
    """Return a tool's command with its interpreter and the tool's place."""
    tool = REPOSITORY / command[0]
    interpreter = 'bash' if tool.suffix == '.sh' else sys.executable
    return [interpreter, str(tool), *command[1:]]


def _remove(path: Path) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error) from error
