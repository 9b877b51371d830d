"""Run the chain: data, classifier, seeds, labels, segmentor, test.

python tools/run_pipeline.py configs/pipelines/acr_embedded.py --work-dir work_dirs/try
Stopped, the same command goes on at the first unfinished stage.
"""

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mmwsss.apis.launch import check_writable, run_tool
from mmwsss.apis.pipeline import Pipeline, Record, Stage, StageError, command_line
from mmwsss.apis.pipeline_stages import StageBuilder
from mmwsss.utils.config_files import OptionAction, read_config_file
from mmwsss.utils.packaged_files import find_config

SHOWN_FIGURES = ('multi-label/mAP', 'seed/mIoU_best', 'undecided', 'mIoU')


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='pipeline config, see configs/pipelines')
    parser.add_argument('--work-dir', help='folder of all stages')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        default={},
        help="settings in place of the config's, as key=value, e.g. "
        'data.synthetic.train=60 classifier.options.train_cfg.max_epochs=1',
    )
    parser.add_argument('--from', dest='first', help='redo this stage and all later')
    parser.add_argument('--until', help='stop behind this stage')
    parser.add_argument(
        '--dry-run', action='store_true', help='print what would run, run nothing'
    )
    return parser.parse_args()


def main() -> None:
    """Run the chain and print a table of its stages."""
    args = parse_arguments()
    config = read_config_file(find_config(args.config))
    config.merge_from_dict(args.cfg_options)
    work_dir = args.work_dir or f'work_dirs/{Path(args.config).stem}'
    check_writable(work_dir)
    pipeline = Pipeline(StageBuilder(config, work_dir).build(), work_dir)
    console = Console(markup=False)
    if args.dry_run:
        for stage in pipeline.plan(first=args.first, until=args.until):
            for command in stage.commands:
                console.print(' '.join(command_line(command)), soft_wrap=True)
        return

    def on_start(stage: Stage) -> None:
        console.print(f'{stage.name}: running, log in {work_dir}/logs/{stage.name}.log')

    def on_end(stage: Stage, record: Record) -> None:
        console.print(f'{stage.name}: {record.seconds} s {shown(record)}')

    try:
        pipeline.run(
            first=args.first, until=args.until, on_start=on_start, on_end=on_end
        )
    except StageError as error:
        print(error.log_end, file=sys.stderr)
        raise
    console.print(stage_table(pipeline))


def stage_table(pipeline: Pipeline) -> Table:
    """Return a table of stages with time and quality."""
    table = Table('stage', 'seconds', 'figures')
    for stage in pipeline.stages:
        record = pipeline.record(stage)
        if record is None:
            table.add_row(stage.name, '-', 'not run')
        else:
            table.add_row(stage.name, f'{record.seconds}', shown(record))
    return table


def shown(record: Record) -> str:
    """Return a record's main figures in words."""
    figures = (name for name in SHOWN_FIGURES if name in record.quality)
    return ', '.join(f'{name} {record.quality[name]:.2f}' for name in figures)


if __name__ == '__main__':
    run_tool(main)
