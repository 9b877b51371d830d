"""Runs of a study: each claimed by a process, trained, measured, written down."""

from __future__ import annotations

import gc
import json
import time
import traceback
from dataclasses import asdict
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner, TestLoop
from torch import nn

from mmwsss.apis.launch import check_fits
from mmwsss.apis.study_plan import Study, StudyRun
from mmwsss.apis.study_records import (
    BEGUN,
    FAILURE,
    PROGRESS,
    RECORD,
    TRAINING,
    RunRecord,
    claimed,
    read_record,
    stale,
)
from mmwsss.registry import MODELS
from mmwsss.utils.atomic import atomic_write_text, remove_file
from mmwsss.utils.checkpoint import find_resumable

MEBIBYTE = 2**20


def work(study: Study, work_dir: Path) -> None:
    """Do runs until none is left that no other process has and that can be done.

    A run that fails leaves its traceback in its folder and the next one begins.

    Args:
        study: The study.
        work_dir: Its folder, shared by all processes that work on it.
    """
    for run in study.runs():
        folder = work_dir / run.name
        with claimed(folder) as ours:
            if not ours or (folder / FAILURE).exists():
                continue
            inputs = study.digest_of(run)
            if read_record(folder, inputs) is not None:
                continue
            try:
                record = train_and_measure(study, run, folder, inputs=inputs)
            except Exception:  # a cell that cannot run must not cost the others
                atomic_write_text(folder / FAILURE, traceback.format_exc())
                continue
            text = json.dumps(asdict(record), indent=1, sort_keys=True)
            atomic_write_text(folder / RECORD, text + '\n')
            _remove_checkpoints(folder)
            gc.collect()


def train_and_measure(
    study: Study, run: StudyRun, folder: Path, *, inputs: str
) -> RunRecord:
    """Train a run, from its last checkpoint if it was begun, and test every split.

    Args:
        study: The study.
        run: One of its runs.
        folder: Folder of the run.
        inputs: Digest of its settings.

    Raises:
        ArtefactError: if it was begun with other settings.
    """
    begun = folder / BEGUN
    if begun.exists() and begun.read_text() != inputs:
        raise stale(folder, 'begun')
    atomic_write_text(begun, inputs)
    config = study.config_of(run)
    config.work_dir = str(folder / TRAINING)
    # mmengine keeps a logger, a hub and a visualizer of each name
    config.experiment_name = f'{run.name}_{time.time_ns()}'.replace('/', '_')
    runner = _runner(config)
    progress = _ProgressHook(folder / PROGRESS)
    runner.register_hook(progress)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    started = time.monotonic()
    runner.train()
    trained = time.monotonic()
    figures = _measure(study, runner, config, folder)
    parameters = [p for p in runner.model.parameters() if p.requires_grad]
    cost = dict(
        training_seconds=round(trained - started, 1),
        measuring_seconds=round(time.monotonic() - trained, 1),
        iteration_ms=round(progress.milliseconds(), 1),
        memory_mib=round(progress.memory_mib),
        parameters=sum(parameter.numel() for parameter in parameters),
    )
    return RunRecord(inputs, figures, cost, device=_device())


def _runner(config: Config) -> Runner:
    """Build a runner that goes on from the work directory's last checkpoint."""
    checkpoint = find_resumable(config.work_dir)
    if checkpoint is not None:
        config.resume, config.load_from = True, str(checkpoint)
    runner = Runner.from_cfg(config)
    if checkpoint is not None:
        check_fits(str(checkpoint), runner.model, whole=True)
        runner.model.is_init = True  # official weights need not be fetched again
    return runner


def _measure(
    study: Study, runner: Runner, config: Config, folder: Path
) -> dict[str, dict[str, float]]:
    """Do every test in turn; a threshold chosen in one is fixed in later ones."""
    figures: dict[str, dict[str, float]] = {}
    trained = runner.model
    for test in study.tests():
        settings = test.config(config)
        runner.model = _with_settings(trained, config, settings)
        chosen = figures.get(test.threshold_from, {}).get('seed/threshold_best')
        evaluators = settings.test_evaluator
        for metric in evaluators if isinstance(evaluators, list) else [evaluators]:
            if metric.type == 'SeedIoUMetric':
                metric.out_dir = str(folder / test.folder)
                metric.fixed_threshold = chosen
        loop = TestLoop(runner, settings.test_dataloader, evaluators)
        figures[test.name] = {k: float(v) for k, v in loop.run().items()}
    return figures


def _with_settings(model: nn.Module, config: Config, settings: Config) -> nn.Module:
    """Return the model, or one of other settings with its weights."""
    if settings.model == config.model:
        return model
    other = MODELS.build(settings.model)
    other.load_state_dict(model.state_dict())
    return other.to(next(model.parameters()).device)


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'


def _remove_checkpoints(folder: Path) -> None:
    """A finished run needs its checkpoints no more, and a study has many."""
    for path in (folder / TRAINING).glob('*.pth'):
        remove_file(path)


class _ProgressHook(Hook):
    """Write down how far a training is, at most once a second, and time it."""

    priority = 'VERY_LOW'

    def __init__(self, path: Path) -> None:
        self.path = path
        self.memory_mib = 0.0
        self._written = 0.0
        self._times: list[float] = []

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Note the time of this iteration's end."""
        now = time.monotonic()
        self._times.append(now)
        if torch.cuda.is_available():
            self.memory_mib = torch.cuda.max_memory_allocated() / MEBIBYTE
        if now - self._written >= 1:
            self._written = now
            done = (runner.iter + 1) / runner.max_iters
            self.path.write_text(json.dumps(dict(done=round(done, 4))))

    def milliseconds(self) -> float:
        """Return the median time from one iteration's end to the next."""
        gaps = sorted(b - a for a, b in zip(self._times, self._times[1:]))
        return 1000 * gaps[len(gaps) // 2] if gaps else 0.0
