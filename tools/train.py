"""Train a classifier or a segmentor.

python tools/train.py configs/acr/vit_hybrid_voc.py --work-dir work_dirs/acr
"""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

from mmengine.runner import Runner, find_latest_checkpoint

from mmwsss.apis.launch import (
    add_common_arguments,
    check_fits,
    read_config,
    run_tool,
    use_bf16,
)


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help="go on from the work directory's last checkpoint, or from this one",
    )
    parser.add_argument(
        '--amp', action='store_true', help='train under bfloat16 autocast'
    )
    return parser.parse_args()


def main() -> None:
    """Train."""
    args = parse_arguments()
    config = read_config(args)
    if args.amp:
        use_bf16(config)
    if args.resume:
        config.resume = True
        config.load_from = None if args.resume == 'auto' else args.resume
    runner = Runner.from_cfg(config)
    checkpoint, resumes = config.get('load_from'), bool(config.get('resume'))
    if resumes and not checkpoint:
        checkpoint = find_latest_checkpoint(config.work_dir)
    if checkpoint:
        model = getattr(runner.model, 'module', runner.model)
        check_fits(checkpoint, model, whole=resumes)
        # The checkpoint has every weight: official ones need not be fetched again.
        model.is_init = resumes
    runner.train()


if __name__ == '__main__':
    run_tool(main)
