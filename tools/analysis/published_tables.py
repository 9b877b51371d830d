"""Print published tables in Markdown or LaTeX, and own results beside them.

python tools/analysis/published_tables.py acr_table4_voc_val --methods ACR \\
    --ours mine=work_dirs/acr_voc/test/metrics.json
Without a name all tables are printed. FILE is what tools/test.py --metrics writes of a
segmentor, figures of tools/analysis/label_miou.py, or a seed_curve.json, of which
--protocol chooses the threshold. Published columns say so in their heads; own ones are
headed "measured". --check lists the rows whose mean is not what is printed.
"""

from __future__ import annotations

import csv
import json
import statistics
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmwsss.apis.launch import run_tool
from mmwsss.utils.errors import ConfigError, DataError

FOLDER = Path(__file__).parents[2] / 'docs' / 'published'
SOURCES = 'sources.json'
MEAN = 'mIoU'
TOLERANCE = 0.06
"""Of a mean against its printed value: both are rounded to one decimal."""
LATEX = str.maketrans({c: f'\\{c}' for c in '&%$#_{}'})
Figures = Mapping[str, float | None]


@dataclass(frozen=True)
class Column:
    """The figures of one method.

    Args:
        name: The method.
        figures: By class; for tables without classes, by what is measured.
        mean: The mean as printed, None where it is not.
        printed: Whether the figures are published; else they are ours.
    """

    name: str
    figures: Figures
    mean: float | None = None
    printed: bool = True

    @property
    def head(self) -> str:
        """Name and whose figures they are."""
        return f'{self.name} ({"published" if self.printed else "measured"})'


@dataclass(frozen=True)
class Table:
    """A published table.

    Args:
        name: Of its file.
        facts: Its entry in ``sources.json``.
        rows: Classes, or what is measured.
        columns: One a method.
        per_class: Whether rows are classes.
    """

    name: str
    facts: Mapping[str, Any]
    rows: Sequence[str]
    columns: Sequence[Column]
    per_class: bool


def read_sources(folder: Path = FOLDER) -> dict[str, Any]:
    """Return what is known of each table, by its name.

    Raises:
        ConfigError: if the tables are not there.
    """
    path = folder / SOURCES
    if not path.is_file():
        raise ConfigError(
            f'no {path}: the tables come with the repository, run it there'
        )
    return json.loads(path.read_text('utf-8'))


def read_table(name: str, folder: Path = FOLDER) -> Table:
    """Read a table and what is known of it.

    Raises:
        ConfigError: if there is none of this name.
        DataError: if a field is no number.
    """
    sources = read_sources(folder)
    if name not in sources:
        raise ConfigError(f'no table {name}; there are {", ".join(sorted(sources))}')
    path = folder / f'{name}.csv'
    with open(path, encoding='utf-8', newline='') as file:
        head, *lines = list(csv.reader(file))
    facts = sources[name]
    if facts.get('classes_in') == 'rows':
        rows = [line[0] for line in lines]
        methods = [[name, *(line[i] for line in lines)] for i, name in enumerate(head)]
        lines, per_class = methods[1:], True
    else:
        rows, per_class = head[1:], head[-1] == MEAN
    columns = [_column(line, rows, facts, path) for line in lines]
    rows = [row for row in rows if not per_class or row != MEAN]
    return Table(name, facts, rows, columns, per_class)


def _column(
    line: Sequence[str], rows: Sequence[str], facts: Mapping[str, Any], path: Path
) -> Column:
    try:
        figures = {k: float(v) if v else None for k, v in zip(rows, line[1:])}
    except ValueError:
        # text among the figures, as a backbone's name: shown, never computed with
        return Column(line[0], dict(zip(rows, line[1:])))
    if len(line) != len(rows) + 1:
        raise DataError(f'{path}: {line[0]} has {len(line) - 1} of {len(rows)} fields')
    mean = figures.pop(MEAN, facts.get('means', {}).get(line[0]))
    return Column(line[0], figures, mean)


def deviation(column: Column) -> float | None:
    """Return the mean of a column less its printed one; None where either lacks."""
    values = list(column.figures.values())
    if column.mean is None or None in values:
        return None
    return statistics.fmean(values) - column.mean


def deviations(table: Table, tolerance: float = TOLERANCE) -> dict[str, float]:
    """Return by method the deviations beyond the rounding."""
    found = {column.name: deviation(column) for column in table.columns}
    return {n: d for n, d in found.items() if d is not None and abs(d) > tolerance}


def read_result(text: str, protocol: str) -> Column:
    """Read own figures.

    Args:
        text: ``LABEL=FILE``.
        protocol: Which of a seed curve's thresholds.

    Raises:
        ConfigError: if it is not of this form, or the protocol is unknown.
        DataError: if the file is absent or holds no figures of classes.
    """
    label, _, path = text.partition('=')
    if not path:
        raise ConfigError(f'--ours: expected LABEL=FILE, got {text!r}')
    try:
        found = json.loads(Path(path).read_text('utf-8'))
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: {error}; name a JSON file of figures') from error
    if 'protocols' in found:
        if protocol not in found['protocols']:
            names = ', '.join(sorted(found['protocols']))
            raise ConfigError(f'--protocol: {path} has {names}, asked for {protocol}')
        chosen = found['protocols'][protocol]
        figures = dict(zip(found['classes'], chosen['classes']['IoU']))
        return Column(label, figures, chosen[MEAN], printed=False)
    if 'IoU_classwise' not in found:
        raise DataError(
            f'{path} has no IoU_classwise: take the figures of tools/test.py --metrics '
            'of a segmentor, of label_miou.py, or a seed_curve.json'
        )
    return Column(label, found['IoU_classwise'], found[MEAN], printed=False)


def beside(table: Table, ours: Sequence[Column]) -> Table:
    """Put own columns beside a table's, under the table's names of the classes.

    Raises:
        ConfigError: if the classes are not the table's.
    """
    columns = list(table.columns)
    lacking = {_plain(name) for name in table.facts.get('lacking', ())}
    names = {_plain(name): name for name in table.rows}
    for column in ours:
        plain = {_plain(name): value for name, value in column.figures.items()}
        other = set(plain) ^ (set(names) | lacking)
        if not table.per_class or other - lacking:
            raise ConfigError(
                f'{column.name} does not fit {table.name}: classes of one alone are '
                f'{", ".join(sorted(other - lacking)[:3]) or "all"}; choose the table '
                'of your data set'
            )
        figures = {name: plain[key] for key, name in names.items()}
        columns.append(Column(column.name, figures, column.mean, printed=False))
    return Table(table.name, table.facts, table.rows, columns, table.per_class)


def _plain(name: str) -> str:
    """Bring spellings of a class together: cell_phone, cellphone."""
    return name.lower().replace('_', '').replace(' ', '')


def body(table: Table) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of what is shown; classes go down, methods across."""
    if not table.per_class:
        rows = [
            [c.name, *(str(c.figures[r]) for r in table.rows)] for c in table.columns
        ]
        return ['', *table.rows], rows
    rows = [
        [name, *(_shown(c.figures[name]) for c in table.columns)] for name in table.rows
    ]
    means = [MEAN, *(_shown(column.mean) for column in table.columns)]
    return ['class', *(column.head for column in table.columns)], [*rows, means]


def _shown(value: float | None) -> str:
    return '–' if value is None else f'{value:.1f}'


def caption(table: Table) -> str:
    """Return title, what the figures are, and where they are from."""
    facts = table.facts
    text = f'{facts["title"]}; {facts["figures"]}. Published: {facts["source"]}.'
    if facts.get('lacking'):
        text += f' Without {", ".join(facts["lacking"])}, which our copy lacks.'
    return text


def markdown(table: Table) -> str:
    """Return the table in Markdown."""
    head, rows = body(table)
    lines = [head, ['---', *('---:' for _ in head[1:])], *rows]
    text = '\n'.join(f'| {" | ".join(line)} |' for line in lines)
    return f'**{table.name}.** {caption(table)}\n\n{text}\n'


def latex(table: Table) -> str:
    """Return the table in LaTeX, for the package booktabs."""
    head, rows = body(table)
    lines = [' & '.join(cell.translate(LATEX) for cell in row) for row in [head, *rows]]
    lines = [f'  {line} \\\\'.replace('–', '--') for line in lines]
    if table.per_class:
        lines.insert(-1, '  \\midrule')
    return '\n'.join(
        [
            f'% {table.name}: {caption(table)}',
            f'\\begin{{tabular}}{{l{"r" * (len(head) - 1)}}}',
            '  \\toprule',
            lines[0],
            '  \\midrule',
            *lines[1:],
            '  \\bottomrule',
            '\\end{tabular}',
            '',
        ]
    )


FORMATS = dict(markdown=markdown, latex=latex)


def chosen(table: Table, methods: Sequence[str] | None) -> Table:
    """Keep the named methods of a table, in the order given.

    Raises:
        ConfigError: if one is not in it.
    """
    if not methods:
        return table
    columns = {column.name: column for column in table.columns}
    for name in methods:
        if name not in columns:
            raise ConfigError(f'{table.name} has {", ".join(columns)}, not {name}')
    kept = [columns[name] for name in methods]
    return Table(table.name, table.facts, table.rows, kept, table.per_class)


def check_lines(table: Table) -> list[str]:
    """Say of each row beyond the rounding by how much, and why where it is known."""
    reasons = table.facts.get('deviations', {})
    return [
        f'{table.name}: {name} {value:+.2f} ({reasons.get(name, "no reason known")})'
        for name, value in deviations(table).items()
    ]


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('tables', nargs='*', help='names of files in docs/published')
    parser.add_argument('--methods', nargs='+', help='in place of all of a table')
    parser.add_argument(
        '--ours', nargs='+', default=[], metavar='LABEL=FILE', help='own results'
    )
    parser.add_argument(
        '--protocol', default='best', help="threshold of a seed curve's figures"
    )
    parser.add_argument('--format', choices=sorted(FORMATS), default='markdown')
    parser.add_argument('--check', action='store_true', help='list deviations')
    return parser.parse_args()


def main() -> None:
    """Print."""
    args = parse_arguments()
    names = args.tables or sorted(read_sources())
    ours = [read_result(text, args.protocol) for text in args.ours]
    for name in names:
        table = chosen(read_table(name), args.methods)
        if args.check:
            print('\n'.join(check_lines(table)) or f'{name}: as printed')
        else:
            sys.stdout.write(FORMATS[args.format](beside(table, ours)) + '\n')


if __name__ == '__main__':
    run_tool(main)
