"""Train a classifier or a segmentor.

python tools/train.py configs/acr/vit_hybrid_voc.py --work-dir work_dirs/acr
"""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

from mmwsss.apis.launch import (
    add_common_arguments,
    check_fits,
    read_config,
    run_tool,
    use_bf16,
)
from mmwsss.apis.profiling import profile_steps
from mmwsss.utils.atomic import atomic_write_text, named_write_errors
from mmwsss.utils.checkpoint import LAST_CHECKPOINT, find_resumable


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
    parser.add_argument(
        '--profile',
        nargs='?',
        type=int,
        const=5,
        metavar='STEPS',
        help='write profile.md to the work directory: where the time of so many steps '
        '(5) goes after 3 to warm up, by operation, and the share of waiting for data',
    )
    return parser.parse_args()


def choose_start(config: Config, resume: str | None) -> None:
    """Set where a training starts: in its own middle, else where the config says."""
    if resume and resume != 'auto':
        config.resume, config.load_from = True, resume
    elif resume or (config.get('resume') and not config.get('load_from')):
        checkpoint = find_resumable(config.work_dir)
        config.resume = checkpoint is not None
        if checkpoint:
            config.load_from = str(checkpoint)
            # a training that has ended writes it no more
            atomic_write_text(Path(config.work_dir) / LAST_CHECKPOINT, str(checkpoint))


def main() -> None:
    """Train."""
    args = parse_arguments()
    config = read_config(args)
    if args.amp:
        use_bf16(config)
    choose_start(config, args.resume)
    runner = Runner.from_cfg(config)
    checkpoint, resumes = config.get('load_from'), bool(config.get('resume'))
    if checkpoint:
        model = getattr(runner.model, 'module', runner.model)
        check_fits(checkpoint, model, whole=resumes, resumes=resumes)
        # The checkpoint has every weight: official ones need not be fetched again.
        model.is_init = resumes
    if args.profile is not None:
        profile_steps(runner, args.profile)
    with named_write_errors(config.work_dir):
        runner.train()


if __name__ == '__main__':
    run_tool(main)
