"""Show images, tags and masks as the network sees them, and its second views.

python tools/browse_dataset.py configs/custom/cam.py --out work_dirs/browse
The images of --split train are those of a training's first epoch, draw for draw. Of a
classifier that trains on two views (ACR) both are drawn, and the second one's tokens
moved back by the inverse that its loss uses: a wrong inverse shows in the difference.
The page goes to OUT/<split>_<first>-<last>.png.
"""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mmwsss.apis.dataset_browsing import LOADERS, NetworkEyes, choose_indices
from mmwsss.apis.launch import add_cfg_options, config_with, run_tool
from mmwsss.utils.atomic import atomic_writer
from mmwsss.utils.progress import track
from mmwsss.visualization.browsing import (
    SeenSample,
    browsing_figure,
    check_display,
    draw_sample,
    show_page,
)
from mmwsss.visualization.examples import Painter


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('--out', help='folder of the page')
    parser.add_argument('--split', default='train', help=f'one of {", ".join(LOADERS)}')
    parser.add_argument('--count', type=int, default=12, help='images of the page')
    parser.add_argument('--start', type=int, default=0, help='the first, from 0')
    parser.add_argument(
        '--shuffle', type=int, metavar='SEED', help='page through a random order'
    )
    parser.add_argument('--show', action='store_true', help='open a window too')
    add_cfg_options(parser)
    args = parser.parse_args()
    for name, least in dict(count=1, start=0, shuffle=0).items():
        value = getattr(args, name)
        if value is not None and value < least:
            parser.error(f'--{name}: expected at least {least}, got {value}')
    return args


def print_samples(samples: list[SeenSample], painter: Painter) -> None:
    """Print what is on the page."""
    table = Table()
    for head in ('index', 'image', 'size', 'tags'):
        table.add_column(head, overflow='fold')
    views = [sample.view for sample in samples if sample.view]
    for head in ('difference, mean', 'largest', 'not moved back') if views else ():
        table.add_column(head, justify='right')
    for sample in samples:
        height, width = sample.image.shape[:2]
        tags = painter.names(sample.tags) if sample.tags is not None else '-'
        row = [str(sample.index), sample.name, f'{width}x{height}', tags]
        if view := sample.view:
            row += [f'{view.mean:.2f}', f'{view.largest:.2f}']
            row.append('-' if view.unmoved is None else f'{view.unmoved:.2f}')
        table.add_row(*row)
    console = Console(markup=False, highlight=False)
    console.print(table)
    if views:
        mean = sum(view.mean for view in views) / len(views)
        console.print(
            f'second views, tokens moved back: difference to the image {mean:.2f} '
            f'grey levels in the mean, {max(v.largest for v in views):.2f} at most '
            '(0 for views that only move patches)',
            soft_wrap=True,
        )


def page_name(args: Namespace, count: int) -> str:
    """Return the file name of a page of so many images."""
    order = '' if args.shuffle is None else f'_shuffle{args.shuffle}'
    return f'{args.split}{order}_{args.start}-{args.start + count - 1}.png'


def main() -> None:
    """Read, draw, write, show."""
    args = parse_arguments()
    config = config_with(args.config, args.cfg_options)
    if args.show:
        check_display()
    eyes = NetworkEyes(config, args.split)
    indices = choose_indices(
        len(eyes), start=args.start, count=args.count, shuffle=args.shuffle
    )
    samples = [eyes.see(index) for index in track(indices, 'Images')]
    painter = eyes.painter()
    figure = browsing_figure([draw_sample(painter, sample) for sample in samples])
    out = Path(args.out or Path('work_dirs/browse', Path(args.config).stem))
    path = out / page_name(args, len(samples))
    with atomic_writer(path) as file:
        figure.savefig(file, format='png')
    print_samples(samples, painter)
    print(f'page: {path}')
    if args.show:
        show_page(path)


if __name__ == '__main__':
    run_tool(main)
