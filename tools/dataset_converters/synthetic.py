"""Write the embedded data set: generated images with exact masks in VOC's layout.

python tools/dataset_converters/synthetic.py data/synthetic
python tools/dataset_converters/synthetic.py data/more --seed 1 --train 2000 --size 160
Images, tags and masks follow from the seed. A data set that is there already is left as
it is; one that was stopped is written again.
"""

import argparse
from collections.abc import Sequence

from mmwsss.apis.launch import run_tool
from mmwsss.datasets.synthetic import SyntheticSettings, write_synthetic


def parse_args(args: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    default = SyntheticSettings()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
