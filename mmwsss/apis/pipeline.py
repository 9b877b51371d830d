"""The chain from tags to a tested segmentor: its stages and where it stopped.

A stage is one of our tools run on a config. When it has finished, a record is written
that names what it was made from (settings and outputs of the stages before it) and what
it made. A rerun skips stages with a valid record and refuses those made from something
else, so that no figure rests on stale labels.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmwsss.utils.atomic import atomic_write_text
from mmwsss.utils.digests import digest_json
from mmwsss.utils.errors import ArtefactError, ConfigError, WSSSError

REPOSITORY = Path(__file__).resolve().parents[2]
SHOWN_LOG_LINES = 15


class StageError(WSSSError):
    """A stage's tool has failed."""


@dataclass(frozen=True)
class Stage:
    """One step of the chain.

    Args:
        name: Name, also that of its folder in the work directory.
        commands: Tools with their arguments, run in turn.
        settings: Everything of the config that decides what the stage makes.
        output: Digest of what it has made; OSError or WSSSError if that is not there.
        quality: Figures to show once it has finished.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    settings: Mapping[str, Any]
    output: Callable[[], str]
    quality: Callable[[], dict[str, float]]


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
        work_dir: Folder of records, logs and of one folder a stage.
    """

    def __init__(self, stages: Sequence[Stage], work_dir: str | Path) -> None:
        self.stages = list(stages)
        self.work_dir = Path(work_dir)

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

    def plan(self) -> list[Stage]:
        """Return the stages still to run.

        Raises:
            ArtefactError: if a finished stage rests on other settings or inputs than
                today's, or its output has changed since.
        """
        outputs: list[str] = []
        for index, stage in enumerate(self.stages):
            record = self.record(stage)
            if record is None:
                return self.stages[index:]
            self._check(stage, record, outputs)
            outputs.append(record.output)
        return []

    def forget_from(self, name: str) -> None:
        """Remove records and folders of a stage and of all behind it."""
        for stage in self.stages[self._index(name) :]:
            self._record_path(stage).unlink(missing_ok=True)
            shutil.rmtree(self.work_dir / stage.name, ignore_errors=True)

    def run(
        self,
        *,
        until: str | None = None,
        on_start: Callable[[Stage], None] = lambda stage: None,
        on_end: Callable[[Stage, Record], None] = lambda stage, record: None,
    ) -> None:
        """Run what is still to run.

        Args:
            until: Last stage to run; None is the chain's last.
            on_start: Called before each stage.
            on_end: Called with its record behind each stage.

        Raises:
            ArtefactError: as ``plan``.
            StageError: if a tool fails; what finished before it is kept.
        """
        last = len(self.stages) - 1 if until is None else self._index(until)
        for stage in self.plan():
            if self._index(stage.name) > last:
                return
            on_start(stage)
            started = time.monotonic()
            for command in stage.commands:
                self._call(stage, command)
            record = Record(
                inputs=self._inputs(stage, self._outputs_before(stage)),
                output=stage.output(),
                seconds=round(time.monotonic() - started, 1),
                quality=stage.quality(),
            )
            text = json.dumps(asdict(record), indent=1, sort_keys=True)
            atomic_write_text(self._record_path(stage), text + '\n')
            on_end(stage, record)

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
                check=False,
            )
        if result.returncode:
            tail = '\n'.join(log.read_text().splitlines()[-SHOWN_LOG_LINES:])
            raise StageError(
                f'{tail}\nstage {stage.name} failed with exit code '
                f'{result.returncode}; its log is {log}; run the same command to go on'
            )

    def _check(self, stage: Stage, record: Record, outputs: list[str]) -> None:
        if record.inputs != self._inputs(stage, outputs):
            raise ArtefactError(
                f'{self.work_dir}: stage {stage.name} was made with other settings or '
                f'inputs; make it again with --from {stage.name}, or choose another '
                '--work-dir'
            )
        try:
            found = stage.output()
        except (OSError, WSSSError) as error:
            found = str(error)
        if found != record.output:
            raise ArtefactError(
                f'{self.work_dir}: what stage {stage.name} made has changed or is '
                f'gone; make it again with --from {stage.name}'
            )

    def _outputs_before(self, stage: Stage) -> list[str]:
        records = map(self.record, self.stages[: self._index(stage.name)])
        return [record.output for record in records if record is not None]

    @staticmethod
    def _inputs(stage: Stage, outputs: Sequence[str]) -> str:
        return digest_json(dict(settings=dict(stage.settings), before=list(outputs)))

    def _record_path(self, stage: Stage) -> Path:
        return self.work_dir / 'stages' / f'{stage.name}.json'

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
