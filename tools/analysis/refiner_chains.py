"""Pipelines that share one classifier a seed, each with a refiner of its own.

The chains of refiner_table.py.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import traceback
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from label_miou import count_pixels, figures_of, load_data_set, pairs
from mmengine.config import Config
from pseudo_label_quality import TOLERANCE, BoundaryTotals
from refiner_search import Judged

from mmwsss.apis.pipeline import Pipeline
from mmwsss.apis.pipeline_stages import StageBuilder
from mmwsss.apis.seed_masks import mask_paths
from mmwsss.apis.seeds import load_tagged_images
from mmwsss.apis.study_plan import folder_name
from mmwsss.structures.seed_record import SeedCodec
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.errors import WSSSError
from mmwsss.utils.progress import progress_bar

BASE, RAW, NETWORK = 'base', 'seeds', 'refinement'
MASKS = 'SegmentationClass'
FIGURES = ('labels', 'boundary_F', 'undecided', 'segmentor')


@dataclass(frozen=True)
class Chain:
    """A pipeline of the table.

    Args:
        config: The table's config.
        work_dir: Folder of all chains.
        seed: Of the generator, or of the trainings where the images are given.
        label: Row of the table, ``base`` for what all rows of a seed share.
        part: The row's entry among ``refiners``.
        refiner: Settings that make its labels.
    """

    config: dict[str, Any]
    work_dir: Path
    seed: int
    label: str
    part: dict[str, Any]
    refiner: dict[str, Any]

    @property
    def base(self) -> Path:
        """Folder of the seed's classifier and seeds."""
        return self.work_dir / f'seed_{self.seed}' / BASE

    @property
    def folder(self) -> Path:
        """Folder of the chain."""
        return self.base.with_name(folder_name(self.label))

    @property
    def _table_split(self) -> str | None:
        return self.config.get('splits', {}).get('table')

    def pipeline(self) -> Pipeline:
        """Return the pipeline."""
        data = dict(self.config['data'])
        if 'synthetic' in data:
            data['synthetic'] = dict(data['synthetic'], seed=self.seed)
        settings: dict[str, Any] = dict(data=data)
        for name in ('classifier', 'segmentor'):
            settings[name] = self._seeded(self.config[name])
        if self.refiner:
            settings['labels'] = dict(refiner=self.refiner)
        if NETWORK in self.part:
            settings[NETWORK] = self._seeded(self.part[NETWORK])
        builder = StageBuilder(Config(settings), self.folder)
        return Pipeline(builder.build(), self.folder)

    def _seeded(self, part: dict[str, Any]) -> dict[str, Any]:
        """Return a trained part with the chain's seed, unless that is the images'."""
        if 'synthetic' in self.config['data']:
            return part
        seed = {'randomness.seed': self.seed}
        return {**part, 'options': {**part.get('options', {}), **seed}}

    def measured_images(self, split: str | None) -> Config:
        """Return the classifier's config with the images that are measured.

        Args:
            split: List in place of the config's own, below the data set's folder.
        """
        config = Config.fromfile(self.folder / 'configs/classifier.py')
        if split is not None:
            config.seed_dataloader.dataset.ann_file = split
        return config

    def judged(
        self, split: str | None = None, *, jobs: int = 1, folder: Path | None = None
    ) -> Judged:
        """Return the seeds and masks of the images of a split, or of all."""
        config = self.measured_images(split)
        images = load_tagged_images(config)
        store = ArtefactStore.open(self.folder / 'labels/seeds', SeedCodec())
        return Judged(store, images, mask_paths(config, MASKS), folder, jobs)

    def run(self, until: str | None = None) -> dict[str, Any]:
        """Run the chain to its end, or behind a stage; return its figures.

        Raises:
            WSSSError: if a stage fails.
        """
        if self.folder != self.base:
            copy_whole(self.base, self.folder)
        chain = self
        if self.label == RAW:
            best = self.judged(self._table_split).seeds()['seed/threshold_best']
            refiner = dict(type='threshold', background_threshold=best)
            chain = replace(self, refiner=refiner)
        pipeline = chain.pipeline()
        pipeline.run(until=until)
        return {} if until else chain.figures(pipeline)

    def figures(self, pipeline: Pipeline) -> dict[str, Any]:
        """Return the figures of a finished chain, in percent."""
        config = self.measured_images(self._table_split)
        dataset = load_data_set(config, 'seed', MASKS)
        classes = dataset.metainfo['classes']
        boundaries = BoundaryTotals(len(classes), TOLERANCE)
        found = boundaries.watch(pairs(dataset, self.folder / 'labels'))
        counts, images = count_pixels(found, len(classes))
        records = {stage.name: pipeline.record(stage) for stage in pipeline.stages}
        labels = figures_of(counts, classes)
        return dict(
            images=images,
            refiner=self.refiner,
            labels=labels['mIoU'],
            boundary_F=boundaries.figures(classes)['boundary_F'],
            undecided=labels['undecided'],
            segmentor=round(records['test'].quality['mIoU'], 2),
            seconds={name: record.seconds for name, record in records.items()},
        )


def copy_whole(source: Path, target: Path) -> None:
    """Copy a folder; the copy appears whole or not at all, and is never overwritten."""
    if target.exists():
        return
    half = target.with_name(f'.{target.name}.half')
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(source, half)
    half.rename(target)


class Finished:
    """Figures of chains as they finish, and what went wrong with others."""

    def __init__(self) -> None:
        self.figures: dict[tuple[str, int], dict[str, Any]] = {}
        self.failures: list[str] = []

    def add(self, chain: Chain, figures: dict[str, Any], failure: str) -> None:
        """Take the outcome of a chain."""
        name = f'{chain.folder.parent.name}/{chain.folder.name}'
        if failure:
            self.failures.append(f'{name}: {failure}')
        elif figures:
            self.figures[chain.label, chain.seed] = figures
        shown = {key: figures[key] for key in FIGURES if key in figures}
        print(f'{name}: {"FAILED" if failure else shown or "finished"}', flush=True)

    def check(self) -> None:
        """Raise WSSSError if a chain has failed."""
        if self.failures:
            raise WSSSError(
                f'{len(self.failures)} chains failed; mend the cause and repeat the '
                f'command. The first: {self.failures[0]}'
            )


def run_all(
    begun: Sequence[Chain], later: Iterable[Chain], jobs: int, until: str | None = None
) -> Finished:
    """Run chains by several processes, which end with this one.

    Args:
        begun: Those to run first, until their seeds are there if they are a base.
        later: Those that start as a copy of one of them, once it has finished.
        jobs: Processes at once.
        until: Stage to stop behind, for those whose base is not among ``begun``.
    """
    outcome, waiting, ready = Finished(), list(later), deque(begun)
    running: dict[Any, tuple[Any, Chain]] = {}
    try:
        with progress_bar('Chains', len(ready) + len(waiting)) as bar:
            while ready or running:
                while ready and len(running) < jobs:
                    chain = ready.popleft()
                    connection, process = start(
                        chain, until if chain in begun else None
                    )
                    running[connection] = process, chain
                for connection in wait(list(running)):
                    process, chain = running.pop(connection)
                    try:
                        figures, failure = connection.recv()
                    except EOFError:
                        figures, failure = {}, 'its process was ended'
                    process.join()
                    outcome.add(chain, figures, failure)
                    bar.advance()
                    if not failure:
                        ready += [one for one in waiting if one.base == chain.folder]
    finally:
        for process, _ in running.values():
            end(process)
    return outcome


def start(chain: Chain, until: str | None) -> tuple[Any, Any]:
    """Start a process for a chain; return where its outcome comes from, and it."""
    context = get_context('fork')
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=attempt, args=(theirs, chain, until))
    process.start()
    _lead_group(process.pid)
    theirs.close()
    return ours, process


def end(process: Any) -> None:
    """End a chain's process and the tools that it runs, which are of its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    process.join()


def _lead_group(process: int) -> None:
    """Both sides ask for it: neither knows who comes first."""
    with suppress(ProcessLookupError, PermissionError):
        os.setpgid(process, process)


def attempt(connection: Any, chain: Chain, until: str | None) -> None:
    """Run a chain; send its figures and '', or nothing and what went wrong."""
    _lead_group(os.getpid())
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        figures = chain.run('seeds' if chain.label == BASE else until)
        connection.send((figures, ''))
    except WSSSError as error:
        connection.send(({}, f'{error}\n{getattr(error, "log_end", "")}'))
    except Exception:  # a chain that cannot run must not cost the others
        connection.send(({}, traceback.format_exc()))


def end_by_signal() -> None:
    """Let SIGTERM unwind the stack, so that chains are ended too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def network_places(chain: Chain) -> dict[str, str]:
    """Return the files of the network that a chain has trained."""
    return dict(
        config=str(chain.folder / f'configs/{NETWORK}.py'),
        checkpoint=str(chain.folder / NETWORK),
    )


def use_threads(jobs: int) -> None:
    """Share the processor's cores among processes at once."""
    os.environ['OMP_NUM_THREADS'] = str(max(1, (os.cpu_count() or 1) // jobs))
    # threads that spin while they wait slow down several times on busy cores
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
