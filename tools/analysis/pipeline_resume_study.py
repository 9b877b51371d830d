"""Kill a pipeline in every stage, go on, and compare with one that was left alone.

python tools/analysis/pipeline_resume_study.py --work-dir work_dirs/resume_study
python tools/analysis/pipeline_resume_study.py --work-dir work_dirs/resume_refiners \\
    --pipelines threshold pamr densecrf saliency psa irn
Each stop is a SIGKILL of tools/run_pipeline.py and of all that it has started. Writes
study.json in the work directory; exit code 1 if anything differs. Few images and
iterations on a CPU: minutes. Threads decide rounding: keep OMP_NUM_THREADS as it is.

With --pipelines the chain is run once for each of these refiners. Data, classifier and
seeds are those of one run, stopped and left alone, that all start from; processes are
forked from one that has imported all they need. The saliency maps are blurred masks of
the generator, that is extra supervision.
"""

import json
import random
import shutil
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

from mmengine.config import Config, ConfigDict
from PIL import Image, ImageFilter
from rich.console import Console
from rich.table import Table
from stopped_runs import REPOSITORY, Chain, Moment, compare, contents, import_all

from mmwsss.apis.launch import run_tool
from mmwsss.utils.atomic import atomic_write_text
from mmwsss.utils.progress import track

CONFIGS = REPOSITORY / 'configs/pipelines'
CONFIG = 'acr_embedded'
CLASSES = ['torch', 'brush', 'camera', 'radio', 'cactus', 'beetle']
EPOCHS, ITERATIONS, SAVED_EVERY = 3, 6, 2
OPTIONS = {
    'data.synthetic.train': 24,
    'data.synthetic.val': 8,
    'data.synthetic.test': 8,
    'classifier.options': {
        'train_cfg.max_epochs': EPOCHS,
        'train_cfg.val_interval': 1,
        'train_dataloader.batch_size': 4,
        'default_hooks.logger.interval': 1,
        'param_scheduler.0.end': 4,
    },
    'segmentor.options': {
        'train_cfg.max_iters': ITERATIONS,
        'train_dataloader.batch_size': 4,
        'train_dataloader.dataset.allow_absent': CLASSES,
        'default_hooks.checkpoint.interval': SAVED_EVERY,
        'default_hooks.logger.interval': 1,
        'param_scheduler.0.end': 2,
        'param_scheduler.1.begin': 2,
        'param_scheduler.1.end': ITERATIONS,
    },
}
NETWORK_OPTIONS = {
    'refinement.options': {
        'train_cfg.max_epochs': EPOCHS,
        'train_dataloader.batch_size': 4,
        'train_dataloader.dataset.allow_absent': CLASSES,
        'default_hooks.logger.interval': 1,
    },
}
SALIENCY = 'saliency'
BLUR = 4
PIPELINES = {
    'threshold': ('acr_embedded', dict(type='threshold')),
    'pamr': ('acr_embedded', dict(type='pamr')),
    'densecrf': ('acr_embedded', dict(type='densecrf')),
    'saliency': ('acr_embedded', dict(type='saliency', folder=SALIENCY)),
    'psa': ('acr_embedded_psa', dict(type='psa')),
    'irn': ('acr_embedded_irn', dict(type='irn')),
}
"""Pipeline config and refiner by name."""
SHARED = ('data', 'classifier', 'seeds')
RANDOM_SEED = 0

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
    Moment('affinity_labels', 'first label', files='affinity_labels/labels/*.png'),
    Moment(
        'affinity_labels', 'some labels', files='affinity_labels/labels/*.png', count=9
    ),
    Moment(
        'affinity_labels', 'all labels', files='affinity_labels/labels/*.png', count=24
    ),
    Moment('refinement', 'starting, no checkpoint', files='refinement/*.py'),
    Moment('refinement', 'in epoch 1, no checkpoint', lines=('Epoch(train) [1][2/',)),
    Moment('refinement', 'first checkpoint appears', files='refinement/epoch_1.pth'),
    Moment('refinement', 'in epoch 2', lines=('Epoch(train) [2][4/',)),
    Moment('refinement', 'in epoch 3', lines=('Epoch(train) [3][2/',)),
    Moment('refinement', 'last checkpoint appears', files='refinement/epoch_3.pth'),
    # saved for the first time, or resumed behind it
    Moment(
        'refinement',
        'trained, not recorded',
        lines=('Saving checkpoint at 3', 'resumed epoch: 3'),
    ),
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
    parser.add_argument(
        '--pipelines',
        nargs='+',
        choices=sorted(PIPELINES),
        default=[],
        help='refiners whose chains are stopped, in place of the one of acr_embedded',
    )
    args = parser.parse_args()
    if args.pipelines and args.random:
        parser.error('--random is of the one chain without --pipelines')
    return args


def write_config(
    path: Path, name: str = CONFIG, refiner: dict | None = None
) -> list[str]:
    """Write a pipeline config with few images and iterations.

    Args:
        path: Where.
        name: The config that it starts from.
        refiner: In place of that config's.

    Returns:
        The stages that it has.
    """
    config = Config.fromfile(CONFIGS / f'{name}.py')
    network = 'refinement' in config
    config.merge_from_dict(OPTIONS | (NETWORK_OPTIONS if network else {}))
    if refiner:
        config.labels = ConfigDict(refiner=refiner)
    path.parent.mkdir(parents=True, exist_ok=True)
    config.dump(path)
    new = ('affinity_labels', 'refinement') if network else ()
    return [*SHARED, *new, 'labels', 'segmentor', 'test']


def moments_in(stages: list[str]) -> list[Moment]:
    """Return the moments that lie in these stages."""
    return [moment for moment in MOMENTS if moment.stage in stages]


def study(work_dir: Path, *, random_kills: int) -> dict:
    """Run the pipeline undisturbed, killed at all moments, and at random ones."""
    config = work_dir / 'chain.py'
    stages = write_config(config)
    seconds = Chain(config, work_dir / 'straight').complete()
    straight = contents(work_dir / 'straight')
    draws = random.Random(RANDOM_SEED)
    # each run gets as far as its time lets it
    times = [draws.uniform(0, seconds / random_kills) for _ in range(random_kills)]
    after = [Moment('any', f'after {t:.1f} s', seconds=t) for t in times]
    result: dict = dict(seconds_undisturbed=round(seconds, 1), runs={})
    for name, moments in dict(stopped=moments_in(stages), at_random=after).items():
        if moments:
            chain = Chain(config, work_dir / name)
            result['runs'][name] = stop_and_compare(chain, moments, straight)
    return result


def stop_and_compare(
    chain: Chain, moments: list[Moment], straight: dict[str, str]
) -> dict:
    """Kill a chain at moments, let it end, and compare with an undisturbed one."""
    kills = [chain.kill_at(moment) for moment in track(moments, 'Kills')]
    chain.complete()
    return dict(kills=kills, compared=compare(straight, contents(chain.work_dir)))


def study_refiners(work_dir: Path, names: list[str]) -> dict:
    """Run the chains of refiners undisturbed and killed at all moments.

    Args:
        work_dir: Folder of the study.
        names: Keys of ``PIPELINES``.
    """
    import_all()
    result: dict = dict(seconds_undisturbed={}, runs={})
    for name in track(('shared', *names), 'Chains'):
        config = work_dir / name / 'chain.py'
        start, refiner = PIPELINES.get(name, (CONFIG, None))
        if refiner and 'folder' in refiner:
            refiner = refiner | dict(folder=write_saliency(work_dir))
        stages = write_config(config, start, refiner)
        stages = stages[: len(SHARED)] if name == 'shared' else stages[len(SHARED) :]
        straight, stopped = (
            Chain(config, work_dir / name / kind, until=stages[-1], forked=True)
            for kind in ('straight', 'stopped')
        )
        if name != 'shared':
            for chain in (straight, stopped):
                kind = chain.work_dir.name
                shutil.copytree(work_dir / 'shared' / kind, chain.work_dir)
        result['seconds_undisturbed'][name] = round(straight.complete(), 1)
        result['runs'][name] = stop_and_compare(
            stopped, moments_in(stages), contents(straight.work_dir)
        )
    return result


def write_saliency(work_dir: Path) -> str:
    """Write saliency maps of the training images, and return their folder.

    They are the generator's masks, blurred, as no saliency model is at hand.
    """
    folder = work_dir / SALIENCY
    folder.mkdir()
    masks = work_dir / 'shared/straight/data/SegmentationClass'
    for path in sorted(masks.glob('train_*.png')):
        with Image.open(path) as mask:
            # 0 is the background, 255 the edge of an object
            salient = Image.frombytes(
                'L', mask.size, bytes(255 * (value > 0) for value in mask.tobytes())
            )
        salient.filter(ImageFilter.GaussianBlur(BLUR)).save(folder / path.name)
    return str(folder)


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
    if args.pipelines:
        result = study_refiners(work_dir, args.pipelines)
    else:
        result = study(work_dir, random_kills=args.random)
    text = json.dumps(result, indent=1)
    atomic_write_text(work_dir / 'study.json', text + '\n')
    return 0 if show(result, Console(markup=False)) else 1


if __name__ == '__main__':
    run_tool(lambda: sys.exit(main()))
