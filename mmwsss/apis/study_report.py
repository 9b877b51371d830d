"""A study's table as JSON, Markdown and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmwsss.apis.study_plan import Measurement, Study, StudyRun
from mmwsss.apis.study_records import RunRecord
from mmwsss.apis.study_statistics import paired_difference, summarize
from mmwsss.utils.atomic import atomic_write_text, atomic_writer

Records = Mapping[StudyRun, RunRecord]
INCHES_WIDE, INCHES_A_ROW, INCHES_AROUND = 7.0, 0.35, 1.2
CURVE_INCHES = (7.0, 4.5)
DPI = 100
COST_NAMES = {
    'training_seconds': 'training, s',
    'measuring_seconds': 'measuring, s',
    'iteration_ms': 'iteration, ms',
    'memory_mib': 'GPU memory, MiB',
    'parameters': 'parameters',
}


def study_table(study: Study, records: Records) -> dict[str, Any]:
    """Return all figures as plain values.

    Each measurement holds each cell's figures: ``values`` by seed, ``mean``,
    ``deviation``, ``count``, and ``difference`` to the baseline (mean, standard error
    and number of the differences seed by seed). Cells without a finished run have none.
    """
    splits: dict[str, Any] = {}
    for name in (test.name for test in study.tests()):
        rows = {cell.label: _values(records, cell.label, name) for cell in study.cells}
        base = rows[study.baseline]
        splits[name] = {
            label: {
                figure: _entry(values, base.get(figure, {}))
                for figure, values in row.items()
            }
            for label, row in rows.items()
        }
    return dict(
        title=study.title,
        budget=study.budget,
        changes=dict(study.changes),
        baseline=study.baseline,
        seeds=list(study.seeds),
        figures=list(study.figures),
        threshold_from=study.threshold_from,
        runs=dict(finished=len(records), total=len(study.runs())),
        devices=sorted({record.device for record in records.values()}),
        cells={
            cell.label: dict(
                config=cell.config,
                options=dict(cell.options),
                cost=_cost(records, cell.label),
            )
            for cell in study.cells
        },
        splits=splits,
    )


def _values(records: Records, label: str, test: str) -> dict[str, dict[int, float]]:
    """Return each figure's values by seed."""
    found: dict[str, dict[int, float]] = {}
    for run, record in records.items():
        if run.cell.label == label:
            for figure, value in record.figures[test].items():
                found.setdefault(figure, {})[run.seed] = value
    return found


def _entry(values: Mapping[int, float], base: Mapping[int, float]) -> dict[str, Any]:
    summary, difference = summarize(values), paired_difference(values, base)
    entry: dict[str, Any] = dict(values={str(s): v for s, v in values.items()})
    if summary is not None:
        entry |= asdict(summary)
    if difference is not None:
        entry['difference'] = dict(
            mean=difference.mean, error=difference.error, count=difference.count
        )
    return entry


def _cost(records: Records, label: str) -> dict[str, float]:
    """Return the mean of each cost over a cell's runs."""
    costs = [record.cost for run, record in records.items() if run.cell.label == label]
    names = costs[0] if costs else {}
    return {name: round(float(np.mean([c[name] for c in costs])), 1) for name in names}


def _changes_text(changes: Mapping[str, Any]) -> list[str]:
    if not changes:
        return []
    settings = ', '.join(f'`{key}={value}`' for key, value in changes.items())
    return [f'But with {settings}.', '']


def table_text(table: Mapping[str, Any]) -> str:
    """Return the table as Markdown; input of ``study_table``."""
    runs, seeds = table['runs'], ', '.join(map(str, table['seeds']))
    lines = [
        f'# {table["title"]}',
        '',
        f'Budget of a run: {table["budget"]}. Seeds {seeds}; {runs["finished"]} of '
        f'{runs["total"]} runs finished, on {", ".join(table["devices"]) or "none"}.',
        '',
        *_changes_text(table['changes']),
        'Mean ± standard deviation over seeds; in brackets the difference to '
        f'"{table["baseline"]}", seed by seed, ± its standard error.',
    ]
    if table['threshold_from']:
        lines[-1] += (
            f' Figures named `_fixed` use the threshold that was best on '
            f'`{table["threshold_from"]}`.'
        )
    for split, rows in table['splits'].items():
        lines += ['', f'## {split}', '', *_split_lines(table, rows)]
    return '\n'.join([*lines, '', '## Cost', '', *_cost_lines(table), ''])


def _split_lines(table: Mapping[str, Any], rows: Mapping[str, Any]) -> list[str]:
    figures = [f for f in table['figures'] if any(f in row for row in rows.values())]
    body = []
    for label, row in rows.items():
        counts = [row[figure].get('count', 0) for figure in figures if figure in row]
        is_base = label == table['baseline']
        values = [_cell_text(row.get(figure), is_base) for figure in figures]
        body.append([label, *values, str(max(counts, default=0))])
    return _markdown(['cell', *figures, 'seeds'], body)


def _cell_text(entry: Mapping[str, Any] | None, is_baseline: bool) -> str:
    if not entry or 'mean' not in entry:
        return '-'
    text = _with_spread(entry['mean'], entry['deviation'])
    difference = entry.get('difference')
    if is_baseline or difference is None:
        return text
    return f'{text} ({_with_spread(difference["mean"], difference["error"], "+")})'


def _with_spread(mean: float, spread: float | None, sign: str = '') -> str:
    text = f'{mean:{sign}.2f}'
    return text if spread is None else f'{text} ± {spread:.2f}'


def _cost_lines(table: Mapping[str, Any]) -> list[str]:
    body = [
        [label, *(f'{cell["cost"].get(name, "-")}' for name in COST_NAMES)]
        for label, cell in table['cells'].items()
    ]
    return _markdown(['cell', *COST_NAMES.values()], body)


def _markdown(head: list[str], body: list[list[str]]) -> list[str]:
    rows = [head, ['---'] * len(head), *body]
    return [f'| {" | ".join(row)} |' for row in rows]


def seeds_figure(table: Mapping[str, Any], split: str, figure: str) -> Figure:
    """Draw one figure: a dot for each seed, a bar from mean - to mean + deviation."""
    rows = table['splits'][split]
    height = INCHES_AROUND + INCHES_A_ROW * len(rows)
    picture = Figure(figsize=(INCHES_WIDE, height), dpi=DPI, layout='constrained')
    axes = picture.add_subplot()
    for position, (label, row) in enumerate(rows.items()):
        entry = row.get(figure, {})
        if 'mean' not in entry:
            continue
        colour = 'C1' if label == table['baseline'] else 'C0'
        values = list(entry['values'].values())
        axes.plot(values, [position] * len(values), 'o', color=colour, alpha=0.4)
        axes.errorbar(
            entry['mean'], position, xerr=entry['deviation'], fmt='|', color=colour
        )
    base = rows[table['baseline']].get(figure, {})
    if 'mean' in base:
        axes.axvline(base['mean'], color='C1', linewidth=0.8, linestyle=':')
    axes.set_yticks(range(len(rows)), labels=list(rows))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set(xlabel=figure)
    picture.suptitle(f'{table["title"]}\n{split}', fontsize='medium')
    return picture


def curves_figure(study: Study, work_dir: Path, test: Measurement) -> Figure | None:
    """Draw mIoU over the background threshold, each cell's mean over seeds."""
    picture = Figure(figsize=CURVE_INCHES, dpi=DPI, layout='constrained')
    axes = picture.add_subplot()
    for cell in study.cells:
        paths = [
            work_dir / StudyRun(cell, seed).name / test.folder / 'seed_curve.json'
            for seed in study.seeds
        ]
        found = [json.loads(path.read_text()) for path in paths if path.exists()]
        if found:
            curves = np.array([record['curves']['mIoU'] for record in found])
            axes.plot(found[0]['thresholds'], curves.mean(0), label=cell.label)
    if not axes.lines:
        return None
    axes.set(xlabel='background threshold', ylabel='mIoU, %')
    picture.suptitle(f'{study.title}\n{test.name}', fontsize='medium')
    axes.legend(fontsize='small')
    return picture


def write_study(study: Study, records: Records, work_dir: Path) -> list[Path]:
    """Write ``study.json``, ``study.md`` and pictures of the last measurement.

    Returns:
        The files.

    Raises:
        ArtefactError: if one cannot be written.
    """
    table = study_table(study, records)
    files = [work_dir / 'study.json', work_dir / 'study.md']
    atomic_write_text(files[0], json.dumps(table, indent=1) + '\n')
    atomic_write_text(files[1], table_text(table))
    test = study.tests()[-1]
    pictures = {
        'seeds.png': seeds_figure(table, test.name, study.figures[0]),
        'curves.png': curves_figure(study, work_dir, test),
    }
    for name, picture in pictures.items():
        if picture is not None:
            files.append(work_dir / name)
            FigureCanvasAgg(picture)
            with atomic_writer(files[-1]) as file:
                picture.savefig(file, format='png')
    return files
