"""Where the time goes in ACR: the plain equations and the product, one page.

python tools/benchmarks/profiles.py --out docs/benchmarks_profiles.md
Localization of an image of two tags, and a training step of one image, with the models
of ``localization.py`` and ``train_step.py``: one run each under torch's profiler after
one to warm up. Times are an operation's own, without those that it calls.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import localization
import torch
import train_step
from measuring import MEBIBYTE, machine, parser_of, prepare, synchronize
from torch.profiler import ProfilerActivity, profile

from mmwsss.apis.launch import run_tool
from mmwsss.utils.atomic import atomic_write_text

TAGS, BATCH = 2, 1
SIDES = dict(plain='before: the plain equations', product='after: the product')
HEAD = """# Where the time goes

Operations of ACR on {machine}. `{command}` writes this page.
"""


def runs_of(
    args: Namespace, device: torch.device
) -> dict[str, dict[str, Callable[[], object]]]:
    """Return what is recorded: by work, then by side."""
    localizing = localization.sides(args, device, BATCH, TAGS)
    setup = train_step.Setup(args, device, BATCH)
    return {
        f'Localization of {BATCH} image with {TAGS} tags': {
            side: localizing[side] for side in SIDES
        },
        f'Training step of {BATCH} image': {
            side: setup.step(getattr(setup, side)) for side in SIDES
        },
    }


def record(run: Callable[[], object], device: torch.device) -> list[Any]:
    """Return the operations of a run, the longest own time first."""
    run()
    synchronize(device)
    kinds = [ProfilerActivity.CPU]
    kinds += [ProfilerActivity.CUDA] if device.type == 'cuda' else []
    with profile(activities=kinds, profile_memory=True) as recording:
        run()
        synchronize(device)
    return sorted(recording.key_averages(), key=own_time(device), reverse=True)


def own_time(device: torch.device) -> Callable[[Any], float]:
    """Return what gives an operation's own microseconds on the device."""
    name = f'self_{"device" if device.type == "cuda" else "cpu"}_time_total'
    return lambda event: getattr(event, name)


def table(events: list[Any], device: torch.device, rows: int) -> str:
    """Return the longest operations as a Markdown table."""
    time_of = own_time(device)
    whole = sum(map(time_of, events))
    lines = [
        '| operation | own ms | share | calls | allocated MiB |',
        '| --- | ---: | ---: | ---: | ---: |',
    ]
    for event in events[:rows]:
        memory = (
            event.self_device_memory_usage
            if device.type == 'cuda'
            else event.self_cpu_memory_usage
        )
        lines.append(
            f'| `{event.key}` | {time_of(event) / 1000:.1f} '
            f'| {time_of(event) / whole:.1%} | {event.count} '
            f'| {max(memory, 0) / MEBIBYTE:.0f} |'
        )
    rest = sum(map(time_of, events[rows:]))
    lines.append(f'| all others | {rest / 1000:.1f} | {rest / whole:.1%} | | |')
    lines.append(f'| together | {whole / 1000:.1f} | 100.0% | | |')
    return '\n'.join(lines) + '\n'


def main() -> None:
    """Record and write."""
    parser = parser_of(__doc__, repeats=1)
    parser.add_argument(
        '--out', type=Path, default=Path('docs/benchmarks_profiles.md'), metavar='FILE'
    )
    parser.add_argument('--rows', type=int, default=10, help='operations of a table')
    args = parser.parse_args()
    device = prepare(args)
    found = machine(device)
    named = f'{found.get("gpu", found["cpu"])}, {torch.get_num_threads()} CPU threads'
    command = f'python tools/benchmarks/profiles.py --out {args.out}'
    parts = [HEAD.format(machine=f'{named}, torch {found["torch"]}', command=command)]
    for work, sides in runs_of(args, device).items():
        parts.append(f'## {work}\n')
        for side, run in sides.items():
            parts += [f'### {SIDES[side].capitalize()}\n']
            parts += [table(record(run, device), device, args.rows)]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_text(args.out, '\n'.join(parts))


if __name__ == '__main__':
    run_tool(main)
