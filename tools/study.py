"""Fill a table: train and measure every cell of a study for every seed.

python tools/study.py configs/studies/acr_views.py --jobs 8
Stopped, the same command goes on; it may also run on several terminals at once.
"""

import json
import signal
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars

from mmwsss.apis.launch import add_cfg_options, check_writable, run_tool
from mmwsss.apis.study import Progress, collect, progress_of, run_study
from mmwsss.apis.study_plan import Study, read_study
from mmwsss.apis.study_records import FAILURE
from mmwsss.apis.study_report import write_study
from mmwsss.apis.study_statistics import time_left
from mmwsss.utils.errors import WSSSError
from mmwsss.utils.packaged_files import find_config


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='study config, see configs/studies')
    parser.add_argument('--work-dir', help='folder of all runs and tables')
    parser.add_argument('--jobs', type=int, default=1, help='runs at once')
    parser.add_argument(
        '--device', default='auto', help='auto, cpu, or numbers of GPUs: 0,1'
    )
    parser.add_argument('--seeds', type=int, nargs='+', help="in place of the config's")
    parser.add_argument(
        '--only', nargs='+', default=[], help='labels of cells; the baseline joins them'
    )
    parser.add_argument(
        '--minutes', type=float, help='stop then; the same command goes on later'
    )
    parser.add_argument(
        '--tables-only', action='store_true', help='run nothing, write the tables'
    )
    add_cfg_options(parser)
    parser.add_argument(
        '--settings', help='(internal) JSON file of the above, for a process that runs'
    )
    return parser.parse_args()


class Display:
    """Bars on a terminal; elsewhere a line for each run that ends."""

    def __init__(self, console: Console, start: Progress) -> None:
        self.console, self.start = console, start
        self.started = time.monotonic()
        self.shown = set(start.finished)
        self.bars = Bars(
            TextColumn('{task.description}'),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn('{task.fields[left]}'),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.bars.add_task('runs', total=start.total, left='')

    def __call__(self, progress: Progress) -> None:
        """Show how far the study is."""
        left = self._left(progress)
        running = ', '.join(f'{n} {d:.0%}' for n, d in progress.running.items())
        self.bars.update(
            self.task, completed=len(progress.finished), left=f'{left}  {running}'
        )
        ended = {name: 'finished' for name in progress.finished}
        ended |= {name: 'FAILED' for name in progress.failed}
        for name in ended.keys() - self.shown:
            count = f'{len(progress.finished)} of {progress.total}'
            self.console.print(f'{name}: {ended[name]}, {count} runs, {left}')
        self.shown |= ended.keys()

    def _left(self, progress: Progress) -> str:
        seconds = time_left(
            progress.done - self.start.done,
            progress.total - len(progress.failed) - self.start.done,
            time.monotonic() - self.started,
        )
        return '' if seconds is None else f'about {seconds / 60:.1f} min left'


def main() -> None:
    """Run a study and print its table."""
    args = parse_arguments()
    args.config = str(find_config(args.config))
    work_dir = Path(args.work_dir or f'work_dirs/studies/{Path(args.config).stem}')
    settings = dict(options=args.cfg_options, seeds=args.seeds, only=args.only)
    if args.settings:
        from mmwsss.apis.study_runs import work

        settings = json.loads(Path(args.settings).read_text())
        work(read_study(args.config, **settings), work_dir)
        return
    study = read_study(args.config, **settings)
    check_writable(str(work_dir))
    console = Console(markup=False, highlight=False)
    done = True
    if not args.tables_only:
        done = run(study, work_dir, settings, args, console)
    records = collect(study, work_dir)
    files = write_study(study, records, work_dir)
    console.print(Markdown((work_dir / 'study.md').read_text()))
    console.print('written: ' + ', '.join(map(str, files)), soft_wrap=True)
    failed = progress_of(study, work_dir).failed
    if failed:
        raise WSSSError(
            f'{len(failed)} runs failed; the first traceback is in '
            f'{work_dir / failed[0] / FAILURE}; mend its cause and repeat the command'
        )
    if not done:
        console.print('not all runs have finished; the same command goes on')


def run(
    study: Study, work_dir: Path, settings: dict, args: Namespace, console: Console
) -> bool:
    """Run what is left; return whether every run has finished."""
    path = work_dir / 'settings.json'
    path.write_text(json.dumps(settings))
    command = [__file__, args.config, '--work-dir', str(work_dir)]
    display = Display(console, progress_of(study, work_dir))
    # an end asked for from outside must end the processes too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with display.bars:
        return run_study(
            study,
            work_dir,
            [*command, '--settings', str(path)],
            jobs=args.jobs,
            device=args.device,
            seconds=args.minutes and 60 * args.minutes,
            on_progress=display,
        )


if __name__ == '__main__':
    run_tool(main)
