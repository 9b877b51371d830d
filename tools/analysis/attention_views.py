"""Draw what a view does to tokens and attention: a toy, or a trained network's.

python tools/analysis/attention_views.py --out toy.png --view hflip rot90
python tools/analysis/attention_views.py --out affinity.png --view hflip \\
    --method ACR QUICK/configs/classifier.py QUICK/classifier
QUICK is the folder of tools/quickstart.sh, work_dirs/quickstart by default. The first
draws a few patches, the order of their tokens in the image and in the view, and
attention before and after the way back (ACR's supplement, figure 1). The second draws
affinity matrices of images and of their views, those moved back, and the difference
(figure 4), a row for each image and network. Beside the figure lies a JSON file of all
that it shows, with the command that makes it again.
"""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from comparison_grid import (
    add_figure_arguments,
    check_choice,
    chosen_images,
    command,
    images_to_choose_from,
)
from matplotlib.figure import Figure

from mmwsss.apis.attention_comparison import attention_pairs
from mmwsss.apis.compared_methods import load_methods
from mmwsss.apis.launch import run_tool
from mmwsss.functional.views import DIHEDRAL
from mmwsss.utils.errors import ConfigError
from mmwsss.visualization.attention_figure import attention_figure
from mmwsss.visualization.panels import check_suffix, write_figure
from mmwsss.visualization.token_order import token_order, token_order_figure

VIEW = 'hflip'
GRID = (4, 4)


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    add_figure_arguments(parser)
    parser.add_argument(
        '--view',
        nargs='+',
        choices=sorted(DIHEDRAL),
        default=[VIEW],
        help=f'of a network one, of the toy a row each (default: {VIEW})',
    )
    parser.add_argument(
        '--grid',
        nargs=2,
        type=int,
        metavar=('ROWS', 'COLUMNS'),
        help="the toy's patches (default: {} {})".format(*GRID),
    )
    parser.add_argument(
        '--block', type=int, help="the transformer's, from 0 (default: mean over all)"
    )
    return parser.parse_args()


def toy(args: Namespace) -> tuple[Figure, dict[str, Any]]:
    """Draw the toy.

    Raises:
        ConfigError: if something of a network is asked for, or there is no patch.
    """
    asked = ('images', 'count', 'files', 'masks', 'data', 'block')
    if given := [name for name in asked if getattr(args, name) is not None]:
        raise ConfigError(f'--{given[0]} is of a network: name one with --method')
    grid = tuple(args.grid or GRID)
    if min(grid) < 1:
        raise ConfigError(f'--grid: expected at least one patch a side, got {grid}')
    toys = [token_order(view, (grid[0], grid[1])) for view in args.view]
    order = {toy.view: toy.order for toy in toys}
    return token_order_figure(toys), dict(grid=grid, order=order)


def matrices(args: Namespace) -> tuple[Figure, dict[str, Any]]:
    """Draw the matrices of trained networks.

    Raises:
        ConfigError: if something of the toy is asked for.
        WSSSError: of a network or an image.
    """
    if args.grid or len(args.view) != 1:
        raise ConfigError('--method: leave --grid out and choose one --view')
    check_choice(args, args.images)
    (view,) = args.view
    methods = load_methods(args.method, device=args.device)
    images = images_to_choose_from(args, methods)
    images = chosen_images(args, images, args.images)
    found = [
        attention_pairs(method, images, view=view, block=args.block)
        for method in methods
    ]
    rows, facts = [], []
    for image, pairs in zip(images, zip(*found)):
        for method, pair in zip(methods, pairs):
            rows.append((f'{method.name}\n{image.name}', pair))
            facts.append(
                dict(
                    image=image.name,
                    path=image.path,
                    method=method.name,
                    activation_consistency=pair.activation,
                    affinity_consistency=pair.affinity,
                    scale=pair.scale,
                )
            )
    record = dict(view=view, block=args.block, rows=facts)
    record['methods'] = [method.record() for method in methods]
    return attention_figure(rows, view=view), record


def main() -> None:
    """Draw."""
    args = parse_arguments()
    check_suffix(args.out)
    figure, record = matrices(args) if args.method else toy(args)
    record = dict(command=command(), **record)
    written = write_figure(
        figure, Path(args.out), record, dpi=args.dpi, colours=args.colours
    )
    print(' '.join(map(str, written)))


if __name__ == '__main__':
    run_tool(main)
