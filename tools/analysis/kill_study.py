"""Kill every stage that writes, at random moments, start it again, and compare.

python tools/analysis/kill_study.py --work-dir work_dirs/kill_study --kills 8
Training with its checkpoints, accumulation, seeds, refinement, and exports: each stage
is run undisturbed, then, so many times, in a new folder: it is ended by SIGKILL at a
moment drawn uniformly over its undisturbed duration, looked at, and run again to its
end. What stands under a final name when it is killed must be whole and must be left as
it is; a training must go on from its newest whole checkpoint; the end must be that of
the undisturbed run, files to the byte and checkpoints to the tensor. Moments at which a
run has ended already are drawn again. Writes study.json in the work directory; exit
code 1 if anything differs.

pipeline_resume_study.py kills whole pipelines, at chosen moments.
"""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.datasets import PascalVOCDataset
from mmseg.registry import MODELS
from rich.console import Console
from rich.table import Table
from stopped_runs import REPOSITORY, Fork, import_all, trained

from mmwsss.apis.launch import run_tool
from mmwsss.utils.atomic import TEMPORARY_PREFIX, atomic_write_text
from mmwsss.utils.checkpoint import LAST_CHECKPOINT, find_checkpoint, read_checkpoint
from mmwsss.utils.digests import digest_file
from mmwsss.utils.errors import CheckpointError, WSSSError
from mmwsss.utils.progress import progress_bar

FOLDER = '{}'
"""Stands for a run's folder among a stage's arguments."""
REWRITTEN = ('growth.jsonl', 'synthetic.json')
"""Files that say how far a run has come."""
NO_RESULT = ('.py', '.pth', '.log')
"""Suffixes of what tools write beside the results that are compared by their bytes."""
IMAGES = dict(train=40, val=4, test=8)
LOADERS = ('train_dataloader', 'seed_dataloader')
UNMEASURED = ('val_dataloader=None', 'val_evaluator=None', 'val_cfg=None')
POLL_SECONDS = 0.001


@dataclass(frozen=True)
class Stage:
    """A tool that writes into a folder, and goes on there.

    Args:
        name: Name.
        tool: Its file.
        arguments: Of its command line; ``FOLDER`` stands for the run's folder.
        trains: Whether it leaves checkpoints.
        begins_anew: Whether a second run writes all files again, as nothing tells
            what they were made from.
    """

    name: str
    tool: str
    arguments: tuple[str, ...]
    trains: bool = False
    begins_anew: bool = False

    def start(self, folder: Path) -> Fork:
        """Start it as leader of a process group of its own."""
        folder.mkdir(parents=True, exist_ok=True)
        arguments = [part.replace(FOLDER, str(folder)) for part in self.arguments]

        def use_own_temporary_folder() -> None:
            # what a killed process leaves there goes with the run's folder
            tempfile.tempdir = str(folder.parent)

        with folder.with_suffix('.txt').open('a') as log:
            path = str(REPOSITORY / self.tool)
            return Fork(
                path, arguments, log, leads=True, before=use_own_temporary_folder
            )

    def complete(self, folder: Path) -> float:
        """Run to the end and return the seconds.

        Raises:
            WSSSError: if it fails.
        """
        started = time.monotonic()
        if self.start(folder).wait():
            raise WSSSError(f'{self.name} failed, see {folder.with_suffix(".txt")}')
        return time.monotonic() - started

    def kill(self, folder: Path, seconds: float) -> bool:
        """Run for so many seconds and kill it; return whether it was still at work."""
        end = time.monotonic() + seconds
        process = self.start(folder)
        while process.poll() is None and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        if process.poll() is not None:
            return False
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait() == -signal.SIGKILL


@dataclass
class Found:
    """What the kills of a stage have shown.

    Args:
        seconds: Its undisturbed duration.
        moments: Seconds after which it was killed.
        finished: Files and checkpoints that were finished when it was killed, over all
            kills.
        torn: Those that are not what they should be.
        remade: Those that the second run did not leave as they were, and trainings
            that did not go on from their newest whole checkpoint.
        torn_checkpoints: Checkpoints that a kill has cut short, and that must be
            passed over.
        differing: What is not as in the undisturbed run at the end.
    """

    seconds: float
    moments: list[float] = field(default_factory=list)
    finished: int = 0
    torn: list[str] = field(default_factory=list)
    remade: list[str] = field(default_factory=list)
    torn_checkpoints: int = 0
    differing: list[str] = field(default_factory=list)


def results_of(folder: Path) -> dict[str, Path]:
    """Return a run's finished files by their names in it."""
    found = {}
    for path in sorted(folder.rglob('*')):
        name = path.relative_to(folder).as_posix()
        kept = path.suffix not in NO_RESULT and path.name != LAST_CHECKPOINT
        # mmengine names the folders of its logs by the time
        logs = any(part[:8].isdigit() for part in name.split('/')[:-1])
        whole = not path.name.startswith(TEMPORARY_PREFIX)
        if path.is_file() and kept and whole and not logs:
            found[name] = path
    return found


def end_of(stage: Stage, folder: Path) -> dict[str, str]:
    """Return digests of all that a run must give, whether killed or not."""
    found = {name: digest_file(path) for name, path in results_of(folder).items()}
    if stage.trains:
        found |= trained(read_checkpoint(find_checkpoint(folder)))
    return found


def whole_checkpoints(folder: Path) -> Iterator[tuple[Path, int | None]]:
    """Yield a run's checkpoints with their iteration, None for those cut short."""
    for path in sorted(folder.glob('*.pth')):
        iteration = None
        with suppress(CheckpointError):
            iteration = int(read_checkpoint(path)['meta']['iter'])
        yield path, iteration


def kill_once(
    stage: Stage, folder: Path, seconds: float, wanted: dict[str, str], found: Found
) -> bool:
    """Kill a run, look at it, let it end, and note what was seen.

    Returns:
        Whether it was killed, and not at its end already.
    """
    if not stage.kill(folder, seconds):
        return False
    name = folder.name
    found.moments.append(round(seconds, 3))
    stood = {
        key: path
        for key, path in results_of(folder).items()
        if path.name not in REWRITTEN and key in wanted
    }
    found.finished += len(stood)
    torn = [key for key, path in stood.items() if digest_file(path) != wanted[key]]
    found.torn += [f'{name}/{key}' for key in torn]
    before = {key: path.stat().st_ino for key, path in stood.items()}
    iterations = [iteration for _, iteration in whole_checkpoints(folder)]
    found.torn_checkpoints += iterations.count(None)
    whole = [iteration for iteration in iterations if iteration is not None]
    found.finished += len(whole)
    newest = max(whole, default=0)
    log = folder.with_suffix('.txt')
    log.write_text('')
    stage.complete(folder)
    if not stage.begins_anew:
        after = {key: path.stat().st_ino for key, path in results_of(folder).items()}
        remade = [key for key, inode in before.items() if after.get(key) != inode]
        found.remade += [f'{name}/{key}' for key in remade]
    if newest and f'iter: {newest}\n' not in log.read_text():
        found.remade.append(f'{name}: not resumed at iteration {newest}')
    end = end_of(stage, folder)
    differing = [k for k in wanted.keys() | end if wanted.get(k) != end.get(k)]
    found.differing += [f'{name}/{key}' for key in sorted(differing)]
    return True


def study_stage(stage: Stage, place: Path, kills: int, draws: random.Random) -> Found:
    """Run a stage undisturbed in ``place/quiet``, then kill it so many times."""
    seconds = stage.complete(place / 'quiet')
    wanted, found = end_of(stage, place / 'quiet'), Found(round(seconds, 2))
    number = 0
    with progress_bar(f'Kills of {stage.name}', kills) as bar:
        while len(found.moments) < kills:
            folder = place / f'killed_{number:03}'
            number += 1
            known = len(found.moments)
            kill_once(stage, folder, draws.uniform(0, seconds), wanted, found)
            bar.advance(len(found.moments) - known)
            shutil.rmtree(folder)
    return found


# --------------------------------------------------------------------------- stages


def at(data: Path, *loaders: str) -> tuple[str, ...]:
    """Return the options that point loaders to the data."""
    return tuple(f'{name}.dataset.data_root={data}' for name in loaders)


def trainings(data: Path) -> list[Stage]:
    """Return the stages that train, one with accumulation in every epoch."""
    options = (
        *('--work-dir', FOLDER, '--resume', 'auto', '--cfg-options'),
        *(*at(data, *LOADERS), *UNMEASURED),
        *('train_dataloader.batch_size=8', 'train_cfg.max_epochs=4'),
    )
    often = ('by_epoch=False', 'interval=2')
    often = tuple(f'default_hooks.checkpoint.{option}' for option in often)
    tool, configs = 'tools/train.py', ('acr/hybrid_embedded', 'rca/embedded')
    acr, rca = (f'configs/{name}.py' for name in configs)
    return [
        Stage('training', tool, (acr, *options, *often), trains=True),
        Stage(
            'accumulation', tool, (rca, *options, 'custom_hooks.3.begin=0'), trains=True
        ),
    ]


def stages_in(place: Path) -> list[Stage]:
    """Return the stages, in the order in which each may use what is before it."""
    data = place / 'data/quiet'
    made = {name: str(place / name / 'quiet') for name in ('training', 'seeds')}
    label = ('configs/acr/hybrid_embedded.py', made['training'])
    seeds = ('--cfg-options', *at(data, 'seed_dataloader'))
    tool, store = 'tools/generate_pseudo_labels.py', 'tools/analysis/seed_store.py'
    submission = (str(place / 'voc.py'), str(place / 'voc.pth'), '--work-dir', FOLDER)
    numbers = [part for n, c in IMAGES.items() for part in (f'--{n}', str(c))]
    return [
        Stage(
            'data',
            'tools/dataset_converters/synthetic.py',
            (FOLDER, *numbers),
            begins_anew=True,
        ),
        *trainings(data),
        Stage('seeds', tool, (*label, '--out', FOLDER, '--only', 'seeds', *seeds)),
        Stage(
            'refinement',
            tool,
            (*label, '--out', made['seeds'], '--label-out', FOLDER)
            + ('--refiner', 'pamr', *seeds),
        ),
        Stage(
            'export',
            store,
            ('export', f'{made["seeds"]}/seeds', FOLDER),
            begins_anew=True,
        ),
        Stage('import', store, ('import', str(place / 'export/quiet'), FOLDER)),
        Stage(
            'archive',
            'tools/analysis/voc_submission.py',
            (*submission, '--out', f'{FOLDER}/test.tgz')
            + ('--list', 'ImageSets/Segmentation/test.txt', '--cfg-options')
            + at(data, 'test_dataloader'),
            begins_anew=True,
        ),
    ]


def write_segmentor(place: Path) -> None:
    """Write config and weights, untrained, of a small segmentor of VOC's classes."""
    config = Config.fromfile(REPOSITORY / 'configs/segmentation/deeplabv2_embedded.py')
    classes = len(PascalVOCDataset.METAINFO['classes'])
    config.model.decode_head.num_classes = classes
    config.test_dataloader.update(num_workers=0, persistent_workers=False)
    dataset = config.test_dataloader.dataset
    dataset.update(type='PascalVOCDataset', metainfo=None)
    config.test_evaluator = dict(type='IoUMetric')
    config.dump(place / 'voc.py')
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(config.model)
    torch.save(dict(state_dict=model.state_dict(), meta={}), place / 'voc.pth')


def study(
    place: Path, *, kills: int, seed: int, names: Sequence[str]
) -> dict[str, Found]:
    """Study the stages of these names; the others are run where they are needed."""
    place.mkdir(parents=True, exist_ok=True)
    os.chdir(REPOSITORY)
    import_all()
    write_segmentor(place)
    result = {}
    for stage in stages_in(place):
        draws = random.Random(f'{seed} {stage.name}')
        wanted = kills if stage.name in names else 0
        found = study_stage(stage, place / stage.name, wanted, draws)
        if wanted:
            result[stage.name] = found
    return result


def show(result: dict[str, Found], console: Console) -> bool:
    """Print the table; return whether nothing was lost, torn or different.

    Columns are the fields of ``Found``.
    """
    table = Table(
        *('stage', 'seconds', 'kills', 'finished', 'torn', 'remade', 'cut short'),
        'differing',
    )
    agrees = True
    for name, found in result.items():
        bad = (found.torn, found.remade, found.differing)
        agrees = agrees and not any(bad)
        torn, remade, differing = (str(len(names)) for names in bad)
        table.add_row(
            *(name, f'{found.seconds:.1f}', str(len(found.moments))),
            *(str(found.finished), torn, remade, str(found.torn_checkpoints)),
            differing,
        )
    console.print(table)
    for found in result.values():
        for line in (*found.torn, *found.remade, *found.differing):
            console.print(line)
    return agrees


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('--work-dir', default='work_dirs/kill_study')
    parser.add_argument('--kills', type=int, default=8, help='of each stage')
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    names = [stage.name for stage in stages_in(Path())]
    parser.add_argument(
        '--stages', nargs='+', choices=names, default=names, metavar='STAGE'
    )
    return parser.parse_args()


def main() -> int:
    """Study and report; return the exit status."""
    args = parse_arguments()
    place = Path(args.work_dir).resolve()
    if place.exists() and any(place.iterdir()):
        print(f'{place} is not empty: choose another folder', file=sys.stderr)
        return 1
    result = study(place, kills=args.kills, seed=args.seed, names=args.stages)
    record = {name: asdict(found) for name, found in result.items()}
    atomic_write_text(place / 'study.json', json.dumps(record, indent=1) + '\n')
    return 0 if show(result, Console(markup=False)) else 1


if __name__ == '__main__':
    run_tool(lambda: sys.exit(main()))
