"""Measure a checkpoint: tags and seeds of a classifier, or a segmentor.

python tools/test.py configs/acr/vit_hybrid_voc.py work_dirs/acr/epoch_15.pth
"""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

from mmengine.runner import Runner

from mmwsss.apis.launch import (
    add_common_arguments,
    check_fits,
    read_config,
    run_tool,
)


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    return parser.parse_args()


def main() -> None:
    """Test."""
    args = parse_arguments()
    config = read_config(args)
    config.load_from = args.checkpoint
    runner = Runner.from_cfg(config)
    model = getattr(runner.model, 'module', runner.model)
    check_fits(args.checkpoint, model, whole=True)
    runner.test()


if __name__ == '__main__':
    run_tool(main)
