"""Where the time of training steps goes, as one page in the work directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import ProfilerHook
from mmengine.runner import Runner

from mmwsss.utils.atomic import atomic_write_text
from mmwsss.utils.errors import ConfigError

PAGE = 'profile.md'
WARM_UP = 3
"""Steps before the recorded ones; the last of them runs under the profiler too."""
ROWS, NAME_WIDTH = 30, 60
STEP, LOADING = 'ProfilerStep', 'enumerate(DataLoader)'


def profile_steps(runner: Runner, steps: int) -> None:
    """Let a runner record some steps after its warm-up and write ``profile.md``.

    The training goes on behind them. Of several processes each is recorded, so that
    none waits for a slower one, and the first writes the page of its own steps.

    Args:
        runner: Not yet trained.
        steps: Steps to record.

    Raises:
        ConfigError: if an epoch has fewer steps, warm-up included.
    """
    if steps < 1:
        raise ConfigError(f'--profile {steps}: expected 1 step or more')
    loop = runner.train_loop
    # mmengine's hook ends with the first epoch; a loop over iterations is one epoch
    whole, available = WARM_UP + steps, loop.max_iters // loop.max_epochs
    if whole > available:
        raise ConfigError(
            f'--profile {steps} takes {whole} steps, {WARM_UP} of them to warm up, and '
            f'an epoch has {available}; record fewer, or set a smaller batch_size'
        )
    page = Path(runner.work_dir) / PAGE

    def write(profile: torch.profiler.profile) -> None:
        if is_main_process():
            atomic_write_text(page, page_of(profile))
            runner.logger.info(f'{page}: where the time of {steps} steps went')

    hook = ProfilerHook(
        by_epoch=False,
        profile_times=whole,
        activity_with_cuda=torch.cuda.is_available(),
        schedule=dict(wait=WARM_UP - 1, warmup=1, active=steps, repeat=1),
        on_trace_ready=write,
    )
    runner.register_hook(hook)


def page_of(profile: torch.profiler.profile) -> str:
    """Return the page of recorded steps: shares of a step, then a table of operations.

    Args:
        profile: A recording with a mark at each step, as mmengine's hook makes them.

    Returns:
        Markdown; the table is sorted by each operation's own time, on the GPU if
        there is one.
    """
    events = profile.key_averages()
    marks = _of_cpu(events, STEP)
    steps = sum(mark.count for mark in marks)
    whole = _milliseconds(marks) / steps
    loading = _milliseconds(_of_cpu(events, LOADING)) / steps
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    table = events.table(
        sort_by=f'self_{device}_time_total',
        row_limit=ROWS,
        max_name_column_width=NAME_WIDTH,
    )
    return (
        f'# Profile of {steps} training steps\n\n'
        '| part of a step | ms | share |\n| --- | --- | --- |\n'
        f'| whole step, while recorded | {whole:.2f} | 100.0% |\n'
        f'| waiting for data | {loading:.2f} | {_share(loading, whole)} |\n'
        f'| the rest | {whole - loading:.2f} | {_share(whole - loading, whole)} |\n\n'
        f'Operations by their own time on the {device.upper()}:\n\n'
        f'```text\n{table.strip()}\n```\n'
    )


def _of_cpu(events: Any, prefix: str) -> list[Any]:
    """Events whose name begins so; a GPU's own marks of the steps are left out."""
    own = [event for event in events if event.key.startswith(prefix)]
    return [e for e in own if e.device_type == torch.autograd.DeviceType.CPU]


def _milliseconds(events: list[Any]) -> float:
    return sum(event.cpu_time_total for event in events) / 1000


def _share(part: float, whole: float) -> str:
    return f'{part / whole:.1%}' if whole > 0 else '-'
