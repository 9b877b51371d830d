"""The page of all benchmarks: goals against figures, as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

HEADER = """# Benchmarks

Fast paths against plain readings of the equations, other libraries, or the work they
do; what each figure means is in its script's docstring. `python
tools/benchmarks/run_all.py --out docs/benchmarks` writes this page; all figures are in
`benchmarks.json` beside it. What bounds those that miss their goal is in
[speed.md](speed.md).
"""
MACHINE = ('cpu', 'gpu', 'cores', 'memory_gib', 'threads', 'torch')


def page_of(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page of runs by name, as ``run_all.py`` stores them."""
    parts = [HEADER, '## Machines\n', *_machines(runs), '## Goals\n']
    parts.append(_goal_table(runs))
    figures = [_figure_table(name, run) for name, run in runs.items()]
    parts += ['## Figures\n', *figures]
    return '\n'.join(parts)


def number(value: object) -> str:
    """Write a figure with four digits."""
    if isinstance(value, float):
        return f'{value:.4g}'
    return str(value)


def _row(*cells: object) -> str:
    return '| ' + ' | '.join(str(cell).replace('|', '\\|') for cell in cells) + ' |'


def _machine_key(run: Mapping[str, Any]) -> str:
    return json.dumps(run['result']['machine'], sort_keys=True)


def _machines(runs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names: dict[str, list[str]] = {}
    for name, run in runs.items():
        if 'result' in run:
            names.setdefault(_machine_key(run), []).append(name)
    lines = []
    for key, group in names.items():
        machine = json.loads(key)
        facts = [
            f'{fact}: {number(machine[fact])}' for fact in MACHINE if fact in machine
        ]
        dates = sorted(runs[name]['date'] for name in group)
        when = dates[0] if len(group) == 1 else f'{dates[0]} to {dates[-1]}'
        lines.append(f'- {"; ".join(facts)}; {when} ({", ".join(group)})\n')
    return lines or ['None yet.\n']


def _goal_table(runs: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        _row('benchmark', 'what', 'goal', 'figure', 'met', 'command'),
        _row(*['---'] * 6),
    ]
    for name, run in runs.items():
        command = f'`{run["command"]}`'
        if 'failed' in run:
            lines.append(_row(name, run['failed'], '', '', '**failed**', command))
            continue
        for goal in run['result']['goals']:
            met = 'yes' if goal['ok'] else '**no**'
            figure = number(goal['figure'])
            lines.append(_row(name, goal['what'], goal['goal'], figure, met, command))
    return '\n'.join(lines) + '\n'


def _figure_table(name: str, run: Mapping[str, Any]) -> str:
    title = f'### {name}\n\n`{run["command"]}`, {run["date"]}\n'
    if 'failed' in run:
        said = '\n'.join(run['said'])
        return f'{title}\nFailed, {run["failed"]}:\n\n```text\n{said}\n```\n'
    cases = [_flat(case) for case in run['result']['cases']]
    tables = []
    for columns in dict.fromkeys(tuple(case) for case in cases):
        rows = [case for case in cases if tuple(case) == columns]
        lines = [
            _row('figure', *['value'] * len(rows)),
            _row(*['---'] * (len(rows) + 1)),
        ]
        lines += [_row(key, *[number(case[key]) for case in rows]) for key in columns]
        tables.append('\n'.join(lines) + '\n')
    return '\n'.join([title, *tables])


def _flat(case: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """Join nested names; times become ``median (min to max) s``."""
    found: dict[str, Any] = {}
    for key, value in case.items():
        if isinstance(value, Mapping) and {'median', 'min', 'max'} == set(value):
            median, low, high = (
                number(float(value[k])) for k in ('median', 'min', 'max')
            )
            found[f'{prefix}{key}'] = f'{median} ({low} to {high}) s'
        elif isinstance(value, Mapping):
            found |= _flat(value, f'{prefix}{key} ')
        elif isinstance(value, list) and any(isinstance(x, Mapping) for x in value):
            found |= _flat(
                {str(i + 1): x for i, x in enumerate(value)}, f'{prefix}{key} '
            )
        elif isinstance(value, list):
            found[f'{prefix}{key}'] = ', '.join(map(number, value))
        else:
            found[f'{prefix}{key}'] = value
    return found
