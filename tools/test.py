"""Measure a checkpoint: tags and seeds of a classifier, or a segmentor.

python tools/test.py configs/acr/vit_hybrid_voc.py work_dirs/acr/epoch_15.pth
"""

import json
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

from mmengine.dist import is_main_process
from mmengine.runner import Runner

from mmwsss.apis.launch import (
    add_common_arguments,
    check_fits,
    read_config,
    run_tool,
)
from mmwsss.utils.atomic import atomic_write_text
from mmwsss.utils.checkpoint import find_checkpoint


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    parser.add_argument(
        'checkpoint', help='checkpoint file, or the work directory of a training'
    )
    parser.add_argument('--metrics', help='JSON file for the figures')
    return parser.parse_args()


def main() -> None:
    """Test."""
    args = parse_arguments()
    config = read_config(args)
    config.load_from = str(find_checkpoint(args.checkpoint))
    runner = Runner.from_cfg(config)
    model = getattr(runner.model, 'module', runner.model)
    check_fits(config.load_from, model, whole=True)
    figures = runner.test()
    if args.metrics and is_main_process():
        text = json.dumps(figures, indent=1, sort_keys=True, default=float)
        atomic_write_text(args.metrics, text + '\n')


if __name__ == '__main__':
    run_tool(main)
