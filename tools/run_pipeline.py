"""Run the chain: data, classifier, seeds, labels, segmentor, test.

python tools/run_pipeline.py configs/pipelines/acr_embedded.py --work-dir work_dirs/try
Stopped, the same command goes on at the first unfinished stage.
"""

import os
import re
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import ProgressColumn, Task
from rich.table import Table
from rich.text import Text

from mmwsss.apis.launch import add_cfg_options, check_writable, run_tool
from mmwsss.apis.pipeline import Pipeline, Record, Stage, StageError, command_line
from mmwsss.apis.pipeline_stages import StageBuilder
from mmwsss.utils.config_files import read_config_file
from mmwsss.utils.packaged_files import find_config
from mmwsss.utils.progress import progress_bar

TIME_LEFT = re.compile(r'eta: ((?:\d+ days?, )?\d+:\d\d:\d\d)')
LOOKED_AT = 4096
"""Bytes at the end of a log."""
SHOWN_FIGURES = ('multi-label/mAP', 'seed/mIoU_best', 'undecided', 'mIoU')


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='pipeline config, see configs/pipelines')
    parser.add_argument('--work-dir', help='folder of all stages')
    add_cfg_options(
        parser,
        example='data.synthetic.train=60 classifier.options.train_cfg.max_epochs=1',
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

    try:
        run(pipeline, args)
    except StageError as error:
        print(error.log_end, file=sys.stderr)
        raise
    console.print(stage_table(pipeline))


def run(pipeline: Pipeline, args: Namespace) -> None:
    """Run what is left to run, and tell of each stage.

    Raises:
        StageError: if one fails.
    """
    names = [stage.name for stage in pipeline.stages]
    left = StageLeft()

    def on_start(stage: Stage) -> None:
        log = pipeline.work_dir / f'logs/{stage.name}.log'
        number = names.index(stage.name)
        print(f'{stage.name}: stage {number + 1} of {len(names)}, log in {log}')
        left.begin(log)
        bar.reach(number)
        bar.describe(stage.name)

    def on_end(stage: Stage, record: Record) -> None:
        bar.reach(names.index(stage.name) + 1)
        print(f'{stage.name}: {record.seconds} s {shown(record)}', flush=True)

    with progress_bar('Stages', len(names), ticking=True, left=left) as bar:
        pipeline.run(
            first=args.first, until=args.until, on_start=on_start, on_end=on_end
        )


class StageLeft(ProgressColumn):
    """How long a stage has run, and the time left that its log tells of."""

    log: Path | None = None

    def begin(self, log: Path) -> None:
        """Take the lines that a stage will add to a log."""
        self.started, self.start = time.monotonic(), 0
        if log.exists():
            self.start = log.stat().st_size
        self.log = log

    def render(self, task: Task) -> Text:
        """Return what is shown."""
        if self.log is None or task.finished:
            return Text('')
        seconds = timedelta(seconds=int(time.monotonic() - self.started))
        left = time_left(self.log, self.start)
        return Text(f'{seconds}' + (f', {left} left' if left else ''))


def time_left(log: Path, start: int = 0) -> str | None:
    """Return the time left that a training or test has logged last.

    Args:
        log: The file.
        start: Place in bytes before which lines are of earlier runs.
    """
    if not log.exists():
        return None
    with log.open('rb') as file:
        file.seek(max(start, file.seek(0, os.SEEK_END) - LOOKED_AT))
        found = TIME_LEFT.findall(file.read().decode('utf-8', 'replace'))
    return found[-1] if found else None


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
