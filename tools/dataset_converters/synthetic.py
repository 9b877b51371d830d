"""Write the embedded data set: generated images with exact masks in VOC's layout."""

import argparse
from collections.abc import Sequence

from mmwsss.apis.launch import run_tool
from mmwsss.datasets.synthetic import SyntheticSettings, write_synthetic


def parse_args(args: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    default = SyntheticSettings()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', help='folder to write to')
    parser.add_argument('--seed', type=int, default=default.seed)
    for split in ('train', 'val', 'test'):
        parser.add_argument(
            f'--{split}',
            type=int,
            default=default.count(split),
            metavar='N',
            help=f'number of {split} images (default: %(default)s)',
        )
    parser.add_argument(
        '--size',
        type=int,
        default=default.size,
        help='height and width in pixels (default: %(default)s)',
    )
    return parser.parse_args(args)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the data set."""
    args = parse_args(arguments)
    settings = SyntheticSettings(
        seed=args.seed,
        train=args.train,
        val=args.val,
        test=args.test,
        size=args.size,
    )
    written = write_synthetic(args.out, settings)
    total = settings.train + settings.val + settings.test
    state = 'written' if written else 'already there, left as they are'
    print(f'{args.out}: {total} images {state}')


if __name__ == '__main__':
    run_tool(main)
