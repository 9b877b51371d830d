"""What the benchmarks share: their arguments, runs in turns, peak memory, machine."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmwsss.utils.atomic import atomic_write_text
from mmwsss.utils.progress import track

DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16}
MEBIBYTE, GIBIBYTE = 1 << 20, 1 << 30


class Times(NamedTuple):
    """Seconds of one side's runs."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median of the runs."""
        return statistics.median(self.seconds)

    def summary(self) -> dict[str, float]:
        """Return median, least and greatest, in seconds."""
        return dict(median=self.median, min=min(self.seconds), max=max(self.seconds))


def parser_of(description: str | None, *, repeats: int = 5) -> ArgumentParser:
    """Make a parser with the arguments that all benchmarks have."""
    parser = ArgumentParser(
        description=description, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument('--dtype', choices=tuple(DTYPES), default='fp32')
    parser.add_argument('--repeats', type=int, default=repeats, help='timed runs each')
    parser.add_argument(
        '--threads', type=int, help="CPU threads; torch's own choice by default"
    )
    parser.add_argument('--small', action='store_true', help='small models, to try out')
    parser.add_argument('--json', type=Path, help='file for the result')
    return parser


def prepare(args: Namespace) -> torch.device:
    """Set threads and seed; return the device."""
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    return torch.device(args.device)


def precision(args: Namespace) -> AbstractContextManager:
    """Return the context that forward passes run in: autocast for ``bf16``."""
    if args.dtype == 'fp32':
        return nullcontext()
    return torch.autocast(args.device, DTYPES[args.dtype])


def in_turns(
    sides: Mapping[str, Callable[[], object]], *, repeats: int, device: torch.device
) -> dict[str, Times]:
    """Time all sides in turns, A B A B, after one run each to warm up."""
    for run in sides.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in track(range(repeats), 'Timed turns'):
        for name, run in sides.items():
            synchronize(device)
            start = time.perf_counter()
            run()
            synchronize(device)
            seconds[name].append(time.perf_counter() - start)
    return {name: Times(tuple(values)) for name, values in seconds.items()}


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def relative_difference(got: Tensor, want: Tensor) -> float:
    """Return max |got - want| / max |want|, in float64."""
    got, want = got.detach().double().cpu(), want.detach().double().cpu()
    if want.numel() == 0:
        return 0.0
    return ((got - want).abs().max() / want.abs().max()).item()


def resident_mebibytes() -> float:
    """Return the memory of this process now."""
    pages = int(Path('/proc/self/statm').read_text('ascii').split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / MEBIBYTE


def peak_mebibytes(device: torch.device) -> float:
    """Return the peak so far: of CUDA's allocator, or of this process's memory."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / MEBIBYTE
    status = Path('/proc/self/status').read_text('ascii')
    line = next(line for line in status.splitlines() if line.startswith('VmHWM'))
    return int(line.split()[1]) / 1024


def peak_in_child(side: str, arguments: Sequence[str]) -> dict[str, float]:
    """Run this script anew with ``--peak-of SIDE`` and return what it prints last."""
    command = [sys.executable, *sys.orig_argv[1:2], *arguments, '--peak-of', side]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def print_peak(run: Callable[[], object], device: torch.device) -> None:
    """Run twice, as the second run of a training is the usual one; print the peak."""
    before = peak_mebibytes(device)
    run()
    run()
    synchronize(device)
    print(json.dumps(dict(before=before, peak=peak_mebibytes(device))))


def machine(device: torch.device) -> dict[str, Any]:
    """Name the machine by its processors, memory and the torch version."""
    names = [platform.processor() or platform.machine()]
    info = Path('/proc/cpuinfo')
    if info.exists():
        lines = info.read_text('utf-8', errors='replace').splitlines()
        names = [x.partition(':')[2].strip() for x in lines if 'model name' in x]
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / GIBIBYTE
    found = dict(cpu=names[0], cores=cores, memory_gib=memory, torch=torch.__version__)
    if device.type == 'cuda':
        found['gpu'] = torch.cuda.get_device_name(device)
    return found


def report(
    args: Namespace,
    *,
    cases: Sequence[Mapping[str, Any]],
    goals: Sequence[Mapping[str, Any]] = (),
    **figures: Any,
) -> dict[str, Any]:
    """Print and write a result: its cases, one row each, goals, and main figures."""
    device = torch.device(args.device)
    hidden = {'json', 'peak_of'}
    result = dict(
        benchmark=Path(sys.argv[0]).stem,
        machine=machine(device) | dict(threads=torch.get_num_threads()),
        settings={k: v for k, v in vars(args).items() if k not in hidden},
        **figures,
        cases=[dict(case) for case in cases],
        goals=[dict(goal) for goal in goals],
    )
    text = json.dumps(result, indent=1, ensure_ascii=False)
    print(text)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(args.json, text + '\n')
    return result


def goal(
    what: str,
    figure: float,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
) -> dict[str, Any]:
    """Set a figure against its goal; give one of the two bounds."""
    if at_most is not None:
        ok = figure <= at_most
        return dict(what=what, goal=f'≤ {at_most:g}', figure=figure, ok=ok)
    if at_least is None:
        raise ValueError(f'goal of {what!r}: give at_most or at_least')
    ok = figure >= at_least
    return dict(what=what, goal=f'≥ {at_least:g}', figure=figure, ok=ok)
