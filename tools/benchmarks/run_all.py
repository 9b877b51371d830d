"""Run the benchmarks one after the other and write their figures as one page.

python tools/benchmarks/run_all.py --out docs/benchmarks
Writes ``OUT.md``, a table of goals and figures, and ``OUT.json``, all results. The
exit code is 1 if a script failed. ``--only`` replaces results of these runs and keeps
the others; ``--tables-only`` writes the page anew from the results.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from results_page import page_of

from mmwsss.apis.launch import run_tool
from mmwsss.utils.atomic import atomic_write_text
from mmwsss.utils.progress import progress_bar

FOLDER = Path(__file__).parent
RUNS: dict[str, tuple[str, ...]] = {
    'localization': ('localization.py',),
    'localization_bf16': ('localization.py', '--dtype', 'bf16'),
    'train_step': ('train_step.py', '--batch', '1'),
    'train_step_batch4': ('train_step.py', '--batch', '4'),
    'train_step_bf16': ('train_step.py', '--dtype', 'bf16', '--batch', '1'),
    'train_step_bf16_batch4': ('train_step.py', '--dtype', 'bf16', '--batch', '4'),
    'rca_step': ('rca_step.py',),
    'seed_curve': ('seed_curve.py',),
    'seed_store': ('seed_store.py',),
    'refinement': ('refinement.py',),
    'scaling': ('scaling.py',),
    'loading': ('loading.py',),
    'efficiency': ('efficiency.py',),
}
LAST_LINES = 5


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--out', type=Path, default=Path('docs/benchmarks'), help='without suffix'
    )
    parser.add_argument('--only', nargs='+', choices=tuple(RUNS), metavar='NAME')
    parser.add_argument('--tables-only', action='store_true')
    parser.add_argument('--small', action='store_true', help='small models, to try out')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument('--threads', type=int, help='CPU threads of each script')
    parser.add_argument('--repeats', type=int, help='timed runs of each script')
    return parser.parse_args()


def options_of(args: Namespace) -> list[str]:
    """Return the arguments that all scripts get."""
    options = ['--small'] if args.small else []
    if args.device != 'cpu':
        options += ['--device', args.device]
    for name in ('threads', 'repeats'):
        if getattr(args, name):
            options += [f'--{name}', str(getattr(args, name))]
    return options


def run_script(line: Sequence[str]) -> dict[str, Any]:
    """Run a script in its own process; return its command and its result or error."""
    name, *arguments = line
    command = ' '.join(['python', f'tools/benchmarks/{name}', *arguments])
    date = datetime.now(timezone.utc).strftime('%Y-%m-%d %H:%M UTC')
    run: dict[str, Any] = dict(command=command, date=date)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'result.json'
        done = subprocess.run(
            [sys.executable, str(FOLDER / name), *arguments, '--json', str(file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors='replace',
        )
        if done.returncode == 0 and file.exists():
            return run | dict(result=json.loads(file.read_text('utf-8')))
    said = done.stderr.strip().splitlines()[-LAST_LINES:]
    return run | dict(failed=f'exit code {done.returncode}', said=said)


def read_runs(file: Path) -> dict[str, Any]:
    """Read the results so far."""
    return json.loads(file.read_text('utf-8'))['runs'] if file.exists() else {}


def write_runs(out: Path, runs: dict[str, Any]) -> None:
    """Write results and page, the runs in their usual order."""
    runs = {name: runs[name] for name in RUNS if name in runs}
    text = json.dumps(dict(runs=runs), indent=1, ensure_ascii=False)
    for suffix, content in (('json', text + '\n'), ('md', page_of(runs))):
        atomic_write_text(out.with_name(f'{out.name}.{suffix}'), content)


def main() -> None:
    """Run, gather and write."""
    args = parse_arguments()
    file = args.out.with_name(f'{args.out.name}.json')
    if args.tables_only and not file.exists():
        sys.exit(f'no results at {file}; run without --tables-only first')
    keeps = args.tables_only or args.only
    runs = read_runs(file) if keeps else {}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    names = [] if args.tables_only else args.only or list(RUNS)
    with progress_bar('Benchmarks', len(names), ticking=True) as bar:
        for name in names:
            print(f'{name} ...', flush=True)
            runs[name] = run_script([*RUNS[name], *options_of(args)])
            print(f'{name}: {runs[name].get("failed", "done")}', flush=True)
            write_runs(args.out, runs)
            bar.advance()
    write_runs(args.out, runs)
    sys.exit(any('failed' in run for run in runs.values()))


if __name__ == '__main__':
    run_tool(main)
