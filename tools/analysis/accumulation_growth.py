"""Show how the accumulated maps of a training grew from epoch to epoch.

python tools/analysis/accumulation_growth.py work_dirs/rca --plot growth.png
"""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from mmwsss.apis.accumulated_store import GROWTH, read_growth
from mmwsss.apis.launch import run_tool
from mmwsss.utils.atomic import atomic_writer
from mmwsss.utils.errors import ArtefactError

FOLDER = 'accumulated'
INCHES = (6.0, 4.0)
PERCENT = 100


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('work_dir', type=Path, help='of the training, or its maps')
    parser.add_argument('--plot', help='PNG file for the curves')
    return parser.parse_args()


def growth_table(lines: list[dict[str, Any]]) -> Table:
    """Return the growth as a table, a row an epoch."""
    table = Table('epoch', 'images', 'maps', 'of tags', 'above 0.5 (%)')
    for line in lines:
        counts = (line[name] for name in ('epoch', 'images', 'maps', 'tags'))
        table.add_row(*map(str, counts), f'{PERCENT * line["covered"]:.2f}')
    return table


def growth_figure(lines: list[dict[str, Any]]) -> Figure:
    """Draw the shares of tags with a map and of grids above one half."""
    figure = Figure(figsize=INCHES, layout='constrained')
    axes = figure.add_subplot()
    epochs = [line['epoch'] for line in lines]
    curves = {
        'tags with a map': [line['maps'] / max(1, line['tags']) for line in lines],
        'mean share of a map above 0.5': [line['covered'] for line in lines],
    }
    for label, shares in curves.items():
        axes.plot(epochs, [PERCENT * share for share in shares], 'o-', label=label)
    axes.set(xlabel='epoch', ylabel='%', ylim=(0, PERCENT), xticks=epochs)
    axes.legend()
    return figure


def main() -> None:
    """Print, and draw if asked to."""
    args = parse_arguments()
    folder = args.work_dir
    folder = folder if (folder / GROWTH).exists() else folder / FOLDER
    lines = read_growth(folder)
    if not lines:
        raise ArtefactError(
            f'{folder} holds no accumulated maps: name the work directory of a '
            'training with MapAccumulationHook'
        )
    Console(markup=False).print(growth_table(lines))
    if args.plot:
        with atomic_writer(args.plot) as file:
            growth_figure(lines).savefig(file, format='png')


if __name__ == '__main__':
    run_tool(main)
