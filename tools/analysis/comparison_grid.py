"""Draw what several trained networks make of the same images, as papers do.

python tools/analysis/comparison_grid.py --out maps.png \\
    --method "without consistency" QUICK/compare/configs/classifier.py \\
    QUICK/compare/classifier \\
    --method ACR QUICK/configs/classifier.py QUICK/classifier --show maps seeds
QUICK is the folder of tools/quickstart.sh --compare. Rows are images of a data set
(--images, or --count of them at even distances, or the --worst or --best of a method),
or own ones (--files); columns are the image, its mask, and of each method maps, seeds,
pseudo labels, the affinity of a --point, or a segmentor's prediction. Below labels
stands their mean IoU in the image. Beside the figure lies a JSON file of all that it
shows, with the command that makes it again.
"""

import shlex
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmwsss.apis.compared_images import (
    SPLITS,
    ComparedImage,
    evenly,
    images_of_data_set,
    images_of_files,
    named_images,
)
from mmwsss.apis.compared_methods import Method, load_methods
from mmwsss.apis.comparison import (
    FOUND,
    GIVEN,
    KINDS,
    Comparison,
    ComparisonSettings,
)
from mmwsss.apis.comparison_drawing import draw_comparison
from mmwsss.apis.inferencer_models import read_model_config
from mmwsss.apis.launch import run_tool
from mmwsss.utils.errors import ConfigError
from mmwsss.visualization.panels import check_suffix, write_figure

COUNT = 4
DPI = 150


def add_figure_arguments(parser: ArgumentParser) -> None:
    """Add the arguments that tell which networks, which images and which file."""
    parser.add_argument('--out', required=True, help='the figure: .png or .pdf')
    parser.add_argument(
        '--method',
        nargs=3,
        action='append',
        default=[],
        metavar=('NAME', 'CONFIG', 'CHECKPOINT'),
        help='a network, once for each; a checkpoint may be its training folder',
    )
    parser.add_argument(
        '--data', help="config whose data set is shown, in place of the methods'"
    )
    parser.add_argument(
        '--split', choices=SPLITS, default='test', help='data loader of that config'
    )
    parser.add_argument('--images', nargs='+', help='names of images of the data set')
    parser.add_argument(
        '--count', type=int, help=f'images without names (default: {COUNT})'
    )
    parser.add_argument('--files', nargs='+', help='own images, or folders of them')
    parser.add_argument('--masks', help='folder of masks (PNG) of --files')
    parser.add_argument('--device', help='cpu or cuda; else a GPU if there is one')
    parser.add_argument('--dpi', type=float, default=DPI, help='pixels an inch')
    parser.add_argument(
        '--colours', type=int, help='palette of a PNG, e.g. 256: half the size'
    )


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    add_figure_arguments(parser)
    order = parser.add_mutually_exclusive_group()
    order.add_argument('--worst', type=int, help='so many images of the lowest IoU')
    order.add_argument('--best', type=int, help='so many images of the highest IoU')
    parser.add_argument(
        '--rank-by', metavar='NAME', help='method whose IoU ranks (default: the last)'
    )
    parser.add_argument(
        '--show',
        nargs='+',
        choices=sorted(KINDS),
        help='of classifiers (default: maps seeds; with --point affinity)',
    )
    tags = parser.add_mutually_exclusive_group()
    tags.add_argument('--tags', nargs='+', help="classes, in place of the images' own")
    tags.add_argument(
        '--found', action='store_true', help='the classes that each classifier finds'
    )
    parser.add_argument(
        '--point',
        nargs=3,
        action='append',
        default=[],
        metavar=('IMAGE', 'X', 'Y'),
        help='column and row in pixels whose affinity is drawn (ACR), once for each',
    )
    parser.add_argument('--refiner', help="of pseudo labels, in place of the config's")
    parser.add_argument(
        '--background-threshold',
        nargs='+',
        type=float,
        default=[],
        help='score of the background in the seeds, one for all or one a method',
    )
    parser.add_argument('--batch-size', type=int, default=1, help='images at once')
    return parser.parse_args()


def check_choice(args: Namespace, names: Sequence[str] | None) -> None:
    """Check that images are chosen in one way.

    Raises:
        ConfigError: if not.
    """
    if args.masks and not args.files:
        raise ConfigError(f'--masks {args.masks} is of --files: name both or neither')
    if names and args.count is not None:
        raise ConfigError(f'--count {args.count}: these images have names already')


def images_to_choose_from(
    args: Namespace, methods: Sequence[Method]
) -> list[ComparedImage]:
    """List own images, or those of the first data set that is known.

    Raises:
        ConfigError: if no config names a data set, or its classes are others.
        DataError: if images or masks are not there.
    """
    if args.files:
        return images_of_files(args.files, args.masks)
    classes = methods[0].inferencer.painter.classes
    for config in [args.data] if args.data else [method.config for method in methods]:
        found = images_of_data_set(read_model_config(config), args.split, classes)
        if found is not None:
            return found
    raise ConfigError(
        f"no config has a {args.split}_dataloader of a data set of mmwsss's: name a "
        "classifier's config with --data, another --split, or own images with --files"
    )


def chosen_images(
    args: Namespace, images: list[ComparedImage], names: Sequence[str] | None
) -> list[ComparedImage]:
    """Return the images of these names, else so many at even distances.

    Raises:
        ConfigError: if a name is unknown.
    """
    if names:
        return named_images(images, names)
    if args.files and args.count is None:
        return images
    return evenly(images, COUNT if args.count is None else args.count)


def settings_of(args: Namespace) -> ComparisonSettings:
    """Return what is shown.

    Raises:
        ConfigError: if a point is none, or does not fit what is shown.
    """
    try:
        points = [(name, float(column), float(row)) for name, column, row in args.point]
    except ValueError as error:
        raise ConfigError(f'--point: expected IMAGE X Y ({error})') from error
    chosen = args.show or (['affinity'] if points else ['maps', 'seeds'])
    tags = tuple(args.tags) if args.tags else FOUND if args.found else GIVEN
    return ComparisonSettings(
        show=tuple(chosen),
        tags=tags,
        points=tuple(points),
        refiner=args.refiner,
        batch_size=args.batch_size,
    )


def is_ranked(args: Namespace) -> bool:
    """Return whether the IoU chooses the images.

    Raises:
        ConfigError: if they are chosen otherwise too.
    """
    if args.worst is None and args.best is None:
        return False
    if args.images or args.point or args.count is not None:
        raise ConfigError(
            '--worst and --best choose the images: leave --images, --count and '
            '--point out'
        )
    return True


def rank(
    args: Namespace, comparison: Comparison, images: Sequence[ComparedImage]
) -> tuple[list[ComparedImage], dict[str, Any]]:
    """Return the worst or best images, and what is known of the order."""
    count = args.best if args.worst is None else args.worst
    name = args.rank_by or comparison.methods[-1].name
    worst = args.worst is not None
    found = comparison.rank(images, name, count=count, worst=worst)
    order = dict(by=name, order='worst' if worst else 'best', of=len(images))
    return [image for image, _ in found], order


def command() -> str:
    """Return the command line that makes the figure again."""
    return shlex.join(['python', *sys.argv])


def main() -> None:
    """Load, look, draw."""
    args = parse_arguments()
    check_suffix(args.out)
    settings, ranked = settings_of(args), is_ranked(args)
    names = args.images or list(dict.fromkeys(name for name, *_ in args.point))
    check_choice(args, names)
    methods = load_methods(
        args.method, device=args.device, background_thresholds=args.background_threshold
    )
    comparison = Comparison(methods, settings)
    images, order = images_to_choose_from(args, methods), None
    if ranked:
        images, order = rank(args, comparison, images)
    else:
        images = chosen_images(args, images, names)
    rows = comparison.rows(images)
    record = dict(command=command(), ranking=order, **comparison.record(rows))
    figure = draw_comparison(comparison, rows)
    written = write_figure(
        figure, Path(args.out), record, dpi=args.dpi, colours=args.colours
    )
    print(f'{written[0]}: {len(rows)} rows of {len(images)} images; {written[1]}')


if __name__ == '__main__':
    run_tool(main)
