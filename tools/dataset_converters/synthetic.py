"""Write the embedded data set: generated images with exact masks in VOC's layout."""

import argparse
import sys
from collections.abc import Sequence

from mmwsss.datasets.synthetic import SyntheticSettings, write_synthetic
from mmwsss.utils.errors import WSSSError


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the data set; return the exit status."""
    args = parse_args(arguments)
    try:
        settings = SyntheticSettings(
            seed=args.seed,
            train=args.train,
            val=args.val,
            test=args.test,
            size=args.size,
        )
        written = write_synthetic(args.out, settings)
    except WSSSError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    total = settings.train + settings.val + settings.test
    state = 'written' if written else 'already there, left as they are'
    print(f'{args.out}: {total} images {state}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
