"""Kill a pipeline in every stage, go on, and compare with one that was left alone.

python tools/analysis/pipeline_resume_study.py --work-dir work_dirs/resume_study
Each stop is a SIGKILL of tools/run_pipeline.py and of all that it has started. Writes
study.json in the work directory; exit code 1 if anything differs. Few images and
iterations on a CPU: minutes. Threads decide rounding: keep OMP_NUM_THREADS as it is.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mmwsss.utils.atomic import atomic_write_text
from mmwsss.utils.checkpoint import find_checkpoint, read_checkpoint
from mmwsss.utils.digests import digest_file, digest_json, digest_tensors
from mmwsss.utils.errors import WSSSError

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = 'configs/pipelines/acr_embedded.py'
CLASSES = 'torch,brush,camera,radio,cactus,beetle'
EPOCHS, ITERATIONS, SAVED_EVERY = 3, 6, 2
OPTIONS = (
    *('data.synthetic.train=24', 'data.synthetic.val=8', 'data.synthetic.test=8'),
    f'classifier.options.train_cfg.max_epochs={EPOCHS}',
    'classifier.options.train_cfg.val_interval=1',
    'classifier.options.train_dataloader.batch_size=4',
    'classifier.options.default_hooks.logger.interval=1',
    'classifier.options.param_scheduler.0.end=4',
    f'segmentor.options.train_cfg.max_iters={ITERATIONS}',
    'segmentor.options.train_dataloader.batch_size=4',
    f'segmentor.options.train_dataloader.dataset.allow_absent=[{CLASSES}]',
    f'segmentor.options.default_hooks.checkpoint.interval={SAVED_EVERY}',
    'segmentor.options.default_hooks.logger.interval=1',
    'segmentor.options.param_scheduler.0.end=2',
    'segmentor.options.param_scheduler.1.begin=2',
    f'segmentor.options.param_scheduler.1.end={ITERATIONS}',
)
COMPARED = (
    *('data/**/*', 'labels/**/*', 'seeds/*.json', 'seeds/*.npz', 'test/metrics.json'),
    'stages/*.begun',
)
TRAINED = ('classifier', 'segmentor')
POLL_SECONDS = 0.002
RANDOM_SEED = 0


@dataclass(frozen=True)
class Moment:
    """A moment to kill a run at.

    Args:
        stage: The stage it lies in.
        name: What has just happened.
        files: Pattern of files below the work directory to wait for.
        count: How many of them.
        lines: Texts of which the stage's log must gain one, in place of files.
        seconds: Time since the start to wait for, in place of both.
    """

    stage: str
    name: str
    files: str = ''
    count: int = 1
    lines: tuple[str, ...] = ()
    seconds: float = 0.0

    def watch(self, work_dir: Path) -> Callable[[], bool]:
        """Return a function that tells whether the moment has come."""
        if self.seconds:
            end = time.monotonic() + self.seconds
            return lambda: time.monotonic() >= end
        if self.files:
            return lambda: len(list(work_dir.glob(self.files))) >= self.count
        log = work_dir / 'logs' / f'{self.stage}.log'
        begin = log.stat().st_size if log.exists() else 0

        def has_line() -> bool:
            if not log.exists():
                return False
            with log.open('rb') as file:
                file.seek(begin)
                content = file.read()
            return any(line.encode() in content for line in self.lines)

        return has_line


MOMENTS = (
    Moment('data', 'some images written', files='data/JPEGImages/*.jpg', count=5),
    Moment('data', 'lists written', files='data/ImageSets/*/test_tags.txt'),
    Moment('classifier', 'in epoch 1, no checkpoint', lines=('Epoch(train) [1][2/',)),
    Moment('classifier', 'first checkpoint appears', files='classifier/epoch_1.pth'),
    Moment('classifier', 'in validation 1', lines=('Epoch(val) [1]',)),
    Moment('classifier', 'in epoch 2', lines=('Epoch(train) [2][4/',)),
    Moment('classifier', 'second checkpoint appears', files='classifier/epoch_2.pth'),
    Moment('classifier', 'last checkpoint appears', files='classifier/epoch_3.pth'),
    # validated for the first time, or resumed behind it
    Moment(
        'classifier',
        'trained, not recorded',
        lines=('Epoch(val) [3]', 'resumed epoch: 3'),
    ),
    Moment('seeds', 'measured in part', lines=('Epoch(test)',)),
    Moment('seeds', 'measured, no seed', files='seeds/metrics.json'),
    Moment('seeds', 'first seed', files='labels/seeds/*.seed'),
    Moment('seeds', 'some seeds', files='labels/seeds/*.seed', count=9),
    Moment('seeds', 'all seeds', files='labels/seeds/*.seed', count=24),
    Moment('labels', 'first label', files='labels/labels/*.png'),
    Moment('labels', 'some labels', files='labels/labels/*.png', count=9),
    Moment('labels', 'all labels', files='labels/labels/*.png', count=24),
    Moment('segmentor', 'starting, no checkpoint', files='segmentor/*.py'),
    Moment('segmentor', 'first checkpoint appears', files='segmentor/iter_2.pth'),
    Moment('segmentor', 'iteration 4 saved', lines=('Saving checkpoint at 4',)),
    Moment('segmentor', 'last checkpoint appears', files='segmentor/iter_6.pth'),
    Moment('test', 'starting', files='test/*.py'),
    Moment('test', 'figures written', files='test/metrics.json'),
)


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('--work-dir', default='work_dirs/resume_study')
    parser.add_argument(
        '--random',
        type=int,
        default=0,
        metavar='N',
        help='kill N times more, in a run of its own, after random times',
    )
    return parser.parse_args()


def start(work_dir: Path) -> subprocess.Popen:
    """Start the pipeline as leader of a process group of its own."""
    work_dir.mkdir(parents=True, exist_ok=True)
    tool = str(REPOSITORY / 'tools/run_pipeline.py')
    line = [sys.executable, tool, str(REPOSITORY / CONFIG), '--work-dir', str(work_dir)]
    with (work_dir / 'run.log').open('a') as log:
        return subprocess.Popen(
            [*line, '--cfg-options', *OPTIONS],
            cwd=REPOSITORY,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {'PYTHONPATH': str(REPOSITORY)},
        )


def kill_at(work_dir: Path, moment: Moment) -> dict:
    """Run the pipeline until a moment, at the latest until its stage ends, and kill it.

    Returns:
        Stage, moment, whether it was killed, and whether the stage was unfinished.
    """
    has_come = moment.watch(work_dir)
    record = work_dir / f'stages/{moment.stage}.json'
    process = start(work_dir)
    while process.poll() is None and not has_come() and not record.exists():
        time.sleep(POLL_SECONDS)
    killed = process.poll() is None
    if killed:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return dict(
        stage=moment.stage,
        moment=moment.name,
        killed=killed,
        unfinished=not record.exists(),
    )


def complete(work_dir: Path) -> float:
    """Run the pipeline to its end and return the seconds.

    Raises:
        WSSSError: if it fails.
    """
    started = time.monotonic()
    if start(work_dir).wait():
        raise WSSSError(f'the pipeline failed, see {work_dir}/run.log')
    return time.monotonic() - started


def contents(work_dir: Path) -> dict[str, str]:
    """Return a digest of each thing that a run must give whether stopped or not."""
    files = (path for pattern in COMPARED for path in work_dir.glob(pattern))
    found = {
        path.relative_to(work_dir).as_posix(): digest_file(path)
        for path in files
        if path.is_file()
    }
    for name in TRAINED:
        checkpoint = read_checkpoint(find_checkpoint(work_dir / name))
        optimizer = checkpoint['optimizer']
        state = {
            f'{key} {part}': value
            for key, parts in optimizer['state'].items()
            for part, value in parts.items()
        }
        found[f'{name}: weights'] = digest_tensors(checkpoint['state_dict'])
        found[f'{name}: optimizer'] = digest_tensors(state)
        found[f'{name}: schedules'] = digest_json(
            [checkpoint['param_schedulers'], optimizer['param_groups']]
        )
    return found


def compare(straight: dict[str, str], stopped: dict[str, str]) -> dict[str, dict]:
    """Return by kind how many things are equal, and which differ."""
    kinds: dict[str, dict] = {}
    for name in sorted(straight.keys() | stopped.keys()):
        kind = name.split('/')[0] if not name.startswith('labels/') else name
        kind = '/'.join(kind.split('/')[:2])
        entry = kinds.setdefault(kind, dict(equal=0, differing=[]))
        if straight.get(name) == stopped.get(name):
            entry['equal'] += 1
        else:
            entry['differing'].append(name)
    return kinds


def study(work_dir: Path, *, random_kills: int) -> dict:
    """Run the pipeline undisturbed, killed at all moments, and at random ones."""
    seconds = complete(work_dir / 'straight')
    straight = contents(work_dir / 'straight')
    draws = random.Random(RANDOM_SEED)
    # each run gets as far as its time lets it
    times = [draws.uniform(0, seconds / random_kills) for _ in range(random_kills)]
    after = [Moment('any', f'after {t:.1f} s', seconds=t) for t in times]
    result: dict = dict(seconds_undisturbed=round(seconds, 1), runs={})
    for name, moments in dict(stopped=MOMENTS, at_random=after).items():
        if moments:
            kills = [kill_at(work_dir / name, moment) for moment in moments]
            complete(work_dir / name)
            compared = compare(straight, contents(work_dir / name))
            result['runs'][name] = dict(kills=kills, compared=compared)
    return result


def show(result: dict, console: Console) -> bool:
    """Print the tables; return whether all agrees and each stage was interrupted."""
    agrees = True
    for name, run in result['runs'].items():
        kills = Table('stage', 'moment', 'killed', 'unfinished', title=name)
        for kill in run['kills']:
            kills.add_row(*(str(kill[key]) for key in kill))
        console.print(kills)
        stages = {kill['stage'] for kill in run['kills']}
        hit = {k['stage'] for k in run['kills'] if k['killed'] and k['unfinished']}
        agrees = agrees and stages == hit
        table = Table('compared', 'equal', 'differing', title=f'{name}: results')
        for kind, entry in run['compared'].items():
            table.add_row(kind, str(entry['equal']), ', '.join(entry['differing']))
            agrees = agrees and not entry['differing']
        console.print(table)
    return agrees


def main() -> int:
    """Study and report; return the exit status."""
    args = parse_arguments()
    work_dir = Path(args.work_dir).resolve()
    if work_dir.exists() and any(work_dir.iterdir()):
        print(f'{work_dir} is not empty: choose another folder', file=sys.stderr)
        return 1
    result = study(work_dir, random_kills=args.random)
    text = json.dumps(result, indent=1)
    atomic_write_text(work_dir / 'study.json', text + '\n')
    return 0 if show(result, Console(markup=False)) else 1


if __name__ == '__main__':
    sys.exit(main())
