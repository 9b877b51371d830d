"""Show that long trainings, and long writing and measuring of seeds, do not grow.

python tools/analysis/long_run.py --iterations 5000 --records 20000 --json long_run.json
Trains tiny networks by ACR and RCA on 40 generated images of 32 pixels, writes records
of seeds, and measures them, each in a process of its own. Behind each step it notes the
memory that the process occupies (RSS) and what of it malloc has given out, its open
files and the processor's time since the step before; validation, checkpoints and
accumulation of maps fall between steps.

Growth is the least-squares slope over the second half of the steps. What grows has a
slope above 3 standard errors and an increase over that half above its own spread, the
standard deviation around the line. Exit code 1 if what malloc has given out grows by
more than --allow bytes, or open files by any, a step. What is occupied is shown, not
judged: pages of libraries and of the heap come into use one by one for a long time.
Nor is time: others may use the machine.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table
from seed_store_scale import DRAWN, MEGABYTE, apart, draw_records, key_of, memory

from mmwsss.apis.launch import run_tool
from mmwsss.datasets.synthetic import SyntheticSettings, write_synthetic
from mmwsss.evaluation.metrics import SeedIoUMetric
from mmwsss.structures.seed_record import SeedCodec
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.atomic import atomic_write_text
from mmwsss.utils.progress import track

CONFIGS = Path(__file__).parents[2] / 'configs'
TRAININGS = dict(acr='acr/hybrid_embedded.py', rca='rca/embedded.py')
IMAGES, BATCH, SIDE = 40, 2, 32
BACKBONES = dict(
    acr=dict(
        type='AttentionViT',
        arch=dict(embed_dim=24, depth=2, num_heads=2, patch_size=8),
        img_size=SIDE,
    ),
    rca=dict(type='TimmCNN', model_name='test_resnet', out_indices=(1,)),
)
CHANNELS = 32
"""Of that level of timm's network for tests."""
EPOCH = IMAGES // BATCH
BETWEEN = 10
"""Validations, checkpoints and accumulations of a training."""
MEASURED_SIDE = 64
CLASSES = ('background', 'a', 'b', 'c', 'd')
ERRORS = 3.0
QUANTITIES = ('memory', 'kept', 'files', 'seconds')
KILOBYTE, MILLI, NANO = 2**10, 1e3, 1e9


class MallocFigures(ctypes.Structure):
    """glibc's ``struct mallinfo2``, in bytes and counts."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *('arena', 'ordblks', 'smblks', 'hblks', 'hblkhd'),
            *('usmblks', 'fsmblks', 'uordblks', 'fordblks', 'keepcost'),
        )
    ]


def given_out() -> int:
    """Return the bytes that malloc has given out and not got back (Linux, glibc)."""
    ask = ctypes.CDLL('libc.so.6').mallinfo2
    ask.restype = MallocFigures
    figures = ask()
    return figures.uordblks + figures.hblkhd


class Meter:
    """Notes what a process occupies behind each of many steps.

    Args:
        steps: How many there will be; all room is taken beforehand.
    """

    def __init__(self, steps: int) -> None:
        self.notes = np.full((steps, len(QUANTITIES)), np.nan)
        self.count = 0
        self.restart()

    def restart(self) -> None:
        """Leave out of the next step's time what was done since the last one."""
        self._last = time.process_time()

    def note(self) -> None:
        """End a step; one more than there is room for is not noted."""
        if self.count == len(self.notes):
            return
        seconds = time.process_time() - self._last
        files = len(os.listdir('/proc/self/fd')) - 1  # its own
        self.notes[self.count] = memory(), given_out(), files, seconds
        self.count += 1
        self.restart()

    def report(self) -> dict[str, Any]:
        """Return the growth of each quantity."""
        done = self.notes[: self.count]
        columns = zip(QUANTITIES, done.T)
        return dict(
            steps=self.count,
            **{name: growth(column.tolist()) for name, column in columns},
        )


class MeterHook(Hook):
    """Notes each iteration, loading of its batch included, epochs' ends not.

    Args:
        meter: What notes.
    """

    priority = 'LOWEST'

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def before_train_epoch(self, runner: Runner) -> None:
        """Begin the first iteration's time."""
        self.meter.restart()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Note the iteration."""
        self.meter.note()


def growth(values: Sequence[float]) -> dict[str, Any]:
    """Fit a line to the second half of values, one a step.

    Returns:
        ``mean`` and ``spread`` (standard deviation around the line) in the values'
        unit, ``slope`` and its standard ``error`` a step, and whether it ``grows``.
    """
    half = np.asarray(values[len(values) // 2 :], float)
    steps = np.arange(len(half)) - (len(half) - 1) / 2
    squares = max(float(steps @ steps), 1.0)
    slope = float(steps @ half) / squares
    rest = half - half.mean() - slope * steps
    spread = float(np.sqrt(rest @ rest / max(1, len(half) - 2)))
    error = spread / squares**0.5
    rises = slope > ERRORS * error and slope * len(half) > spread
    return dict(
        mean=float(half.mean()), spread=spread, slope=slope, error=error, grows=rises
    )


def training_config(folder: Path, method: str, iterations: int) -> Config:
    """Return the config of a training of at least so many iterations."""
    config = Config.fromfile(CONFIGS / TRAININGS[method])
    epochs = -(-iterations // EPOCH)
    seldom = max(1, epochs // BETWEEN)
    options: dict[str, Any] = {
        f'{part}_dataloader.dataset.data_root': str(folder / 'data')
        for part in ('train', 'val', 'test', 'seed')
    }
    options |= {
        'train_dataloader.batch_size': BATCH,
        'train_cfg.max_epochs': epochs,
        'train_cfg.val_interval': seldom,
        'default_hooks.checkpoint.interval': seldom,
        'log_level': 'ERROR',
    }
    config.merge_from_dict(options)
    config.model.backbone = BACKBONES[method]
    if method == 'rca':
        config.model.channels = CHANNELS
    for hook in config.custom_hooks:
        if hook.type == 'MapAccumulationHook':
            hook.interval = seldom
    config.work_dir = str(folder / method)
    return config


def train(folder: Path, method: str, iterations: int) -> dict[str, Any]:
    """Train a method and return the growth."""
    torch.set_num_threads(1)
    meter = Meter(iterations)
    runner = Runner.from_cfg(training_config(folder, method, iterations))
    runner.register_hook(MeterHook(meter))
    runner.train()
    return meter.report()


def write_seeds(folder: Path, count: int) -> dict[str, Any]:
    """Write a store of seeds and return the growth."""
    meter = Meter(count)
    store = ArtefactStore.create(folder / 'seeds', SeedCodec(), dict(config='drawn'))
    size = (MEASURED_SIDE, MEASURED_SIDE)
    shapes = dict(input_shape=size, img_shape=size, ori_shape=size)
    records = [replace(record, **shapes) for record in draw_records()]
    for index in range(count):
        store.write(key_of(index), records[index % DRAWN])
        meter.note()
    store.finish([key_of(index) for index in range(count)])
    return meter.report()


def measure_seeds(folder: Path, count: int) -> dict[str, Any]:
    """Read and measure the store's seeds and return the growth."""
    torch.set_num_threads(1)
    meter = Meter(count)
    store = ArtefactStore.open(folder / 'seeds', SeedCodec())
    metric = SeedIoUMetric()
    metric.dataset_meta = dict(classes=CLASSES)
    generator = torch.Generator().manual_seed(0)
    size = (1, MEASURED_SIDE, MEASURED_SIDE)
    mask = torch.randint(len(CLASSES), size, generator=generator)
    for index in range(count):
        record = store.read(key_of(index))
        sample = dict(
            sample_idx=index,
            img_shape=record.img_shape,
            ori_shape=record.ori_shape,
            gt_sem_seg=dict(data=mask),
            localization=dict(
                data=record.tensor(),
                classes=record.classes,
                input_shape=record.input_shape,
                align_corners=record.align_corners,
            ),
        )
        metric.process({}, [sample])
        meter.note()
    metric.evaluate(count)
    return meter.report()


def run_all(folder: Path, iterations: int, records: int) -> dict[str, dict[str, Any]]:
    """Run each part in a process of its own and return the growth of all."""
    sizes = dict(train=IMAGES, val=4, test=4, size=SIDE)
    write_synthetic(folder / 'data', SyntheticSettings(**sizes))
    parts: dict[str, tuple[Callable[..., dict[str, Any]], Any]] = {
        f'training, {method.upper()}': (train, (method, iterations))
        for method in TRAININGS
    }
    parts['writing seeds'] = write_seeds, (records,)
    parts['measuring seeds'] = measure_seeds, (records,)
    return {
        name: apart(action, folder, *arguments)
        for name, (action, arguments) in track([*parts.items()], 'Parts')
    }


def growing(report: dict[str, dict[str, Any]], allowed: float) -> list[str]:
    """Return what memory and open files grow, by more bytes a step than allowed."""
    limits = dict(kept=allowed, files=0.0)
    return [
        f'{quantity} of {part}'
        for part, found in report.items()
        for quantity, limit in limits.items()
        if found[quantity]['grows'] and found[quantity]['slope'] > limit
    ]


def growth_table(report: dict[str, dict[str, Any]]) -> Table:
    """Return the growth as a table, a row a part; slopes with standard errors."""
    table = Table('', 'steps', 'RSS, MB', 'RSS, bytes a step', 'kept, bytes a step')
    for name in ('files', 'files a step', 'ms a step', 'ns a step, a step'):
        table.add_column(name)
    for part, found in report.items():
        held, kept, files, seconds = (found[name] for name in QUANTITIES)
        table.add_row(
            part,
            f'{found["steps"]:,}',
            f'{held["mean"] / MEGABYTE:.1f}',
            f'{held["slope"]:.0f} ± {held["error"]:.0f}',
            f'{kept["slope"]:.0f} ± {kept["error"]:.0f}',
            f'{files["mean"]:.1f}',
            f'{files["slope"]:.2g} ± {files["error"]:.1g}',
            f'{MILLI * seconds["mean"]:.2f} ± {MILLI * seconds["spread"]:.2f}',
            f'{NANO * seconds["slope"]:.0f} ± {NANO * seconds["error"]:.0f}',
        )
    return table


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('--iterations', type=int, default=5000)
    parser.add_argument('--records', type=int, default=20000)
    parser.add_argument('--allow', type=float, default=KILOBYTE, metavar='BYTES')
    parser.add_argument('--json', help='file for all figures')
    parser.add_argument('--folder', help='where to work; temporary if none')
    return parser.parse_args()


def main() -> None:
    """Run, print, and tell of what grows."""
    args = parse_arguments()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        report = run_all(Path(folder), args.iterations, args.records)
    Console(markup=False).print(growth_table(report))
    if args.json:
        atomic_write_text(args.json, json.dumps(report, indent=1) + '\n')
    found = growing(report, args.allow)
    print('grows: ' + (', '.join(found) or 'nothing'))
    sys.exit(bool(found))


if __name__ == '__main__':
    run_tool(main)
