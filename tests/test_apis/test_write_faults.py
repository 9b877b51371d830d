"""Every writer at every fault of the disk, and killed: nothing finished is lost.

Each call that a writer makes of the disk fails in turn, for want of space, on a
read-only file system, and once by an error of the disk. What stands afterwards is
whole; a second run gives the bytes of one that met no fault.
"""

import os
import random
import re
import runpy
from functools import partial
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner
from PIL import Image
from pseudo_label_run import ROOT, one_thread
from tiny_run import without_slow_logging
from torch import nn
from write_faults import CODES, REASONS, count_calls, failing_disk, killed_at

from mmwsss.apis import accumulation
from mmwsss.apis.accumulation import MapAccumulator
from mmwsss.apis.pipeline import Pipeline, Stage
from mmwsss.apis.pseudo_labels import generate_labels
from mmwsss.apis.seed_exchange import export_seeds, import_seeds
from mmwsss.apis.sharing import finish_store
from mmwsss.datasets.synthetic import SyntheticSettings, write_synthetic
from mmwsss.datasets.tag_list import write_tag_list
from mmwsss.evaluation import seed_report
from mmwsss.refiners import ThresholdRefiner
from mmwsss.structures import WSSSDataSample
from mmwsss.structures.seed_record import SeedCodec, SeedRecord
from mmwsss.utils import artefact_store
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.atomic import (
    TEMPORARY_PREFIX,
    atomic_write_text,
    named_write_errors,
)
from mmwsss.utils.checkpoint import LAST_CHECKPOINT, find_checkpoint, read_checkpoint
from mmwsss.utils.digests import digest_file
from mmwsss.utils.errors import ArtefactError

NAMES = ['a', 'b', 'deep/c', 'd']
SIDE = 8
PALETTE = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [0, 0, 128]]
KILL_SEED = 0


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    without_slow_logging(monkeypatch)
    # what a process has written outlives it; only a power cut asks for the disk
    monkeypatch.setattr(os, 'fsync', lambda _: None)
    with one_thread(monkeypatch):
        yield


@pytest.fixture(params=[100, 2], ids=['files', 'shards'])
def packing(request, monkeypatch):
    """Stores of single files, and of shards."""
    monkeypatch.setattr(artefact_store, 'PACKED_FROM', request.param)
    monkeypatch.setattr(artefact_store, 'SHARD_SIZE', 2)


def record_of(name):
    random_numbers = np.random.default_rng(sum(map(ord, name)))
    return SeedRecord(
        maps=random_numbers.random((2, 4, 4)),
        classes=(0, 2),
        **dict.fromkeys(('input_shape', 'img_shape', 'ori_shape'), (SIDE, SIDE)),
        align_corners=True,
    )


def write_seeds(folder):
    store = ArtefactStore.create(folder, SeedCodec(), dict(made='here'))
    for name in store.pending(NAMES):
        store.write(name, record_of(name))
    finish_store(store, NAMES)
    return store


@pytest.fixture
def images(tmp_path):
    """What the stages ask of a data set."""
    paths = [tmp_path / f'images/{name}.png' for name in NAMES]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (SIDE, SIDE), (90, 120, 60)).save(path)
    return SimpleNamespace(
        classes=('background', 'x', 'y', 'z'),
        palette=PALETTE,
        ids=NAMES,
        paths=list(map(str, paths)),
        tags=[[0, 2]] * len(NAMES),
    )


@pytest.fixture
def seeds(tmp_path):
    return write_seeds(tmp_path / 'seeds')


# -------------------------------------------------------------------------- writers


def seed_job(folder):
    write_seeds(folder / 'seeds')


def label_job(folder, seeds, images):
    refiner = ThresholdRefiner(background_threshold=0.3, foreground_threshold=0.6)
    generate_labels(seeds, images, refiner, folder)


def exchange_job(folder, seeds):
    export_seeds(seeds, folder / 'npy')
    import_seeds(folder / 'npy', folder / 'back')


class Stored(nn.Module):
    """Stands for the classifier behind an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.register_buffer('weight', torch.full((2,), float(epoch)))


def predictions(config, model, images, ids, *, source, task):
    """Stands for localization: maps that grow and shrink with the epoch."""
    for name in ids:
        maps = torch.from_numpy(record_of(name).maps.astype(np.float32))
        sizes = dict(img_shape=(SIDE, SIDE), ori_shape=(SIDE, SIDE))
        sample = WSSSDataSample(metainfo=sizes).set_pred_score(torch.ones(3))
        maps = maps.roll(int(model.weight[0]), 2)
        shape = dict(input_shape=(SIDE, SIDE), align_corners=True)
        yield name, sample.set_localization(maps, [0, 2], **shape)


@pytest.fixture
def accumulate_job(monkeypatch):
    origin = dict(config='c' * 64, checkpoint='')
    images = SimpleNamespace(ids=NAMES[1:3], tags=[[0, 2]] * 2)
    monkeypatch.setattr(accumulation, 'load_tagged_images', lambda _: images)
    monkeypatch.setattr(accumulation, 'seed_origin', lambda *_: dict(origin))
    monkeypatch.setattr(accumulation, 'predict_images', predictions)
    config = Config(dict(model=dict(), randomness=dict(seed=0)))

    def job(folder):
        settings = dict(schedule=dict(epochs=3), gate=0.1, keep=1)
        keeper = MapAccumulator(config=config, folder=folder / 'maps', **settings)
        keeper.restore([])
        for epoch in (1, 2, 3):
            keeper.accumulate(Stored(epoch), epoch=epoch, last=epoch == 3)
            keeper.state()

    return job


class Straight(BaseModel):
    """One weight that each step moves."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, inputs, mode='tensor'):
        return dict(loss=(self.weight * torch.stack(inputs)).square().sum())


choose_start = runpy.run_path(str(ROOT / 'tools/train.py'))['choose_start']
numbers = count()


def training_job(folder):
    """What tools/train.py --resume does, on a model of two weights."""
    start = Config(dict(work_dir=str(folder), resume=False, load_from=None))
    with named_write_errors(folder):
        choose_start(start, 'auto')
        runner = Runner(
            Straight(),
            work_dir=str(folder),
            train_dataloader=dict(
                dataset=[dict(inputs=torch.tensor([float(i), 1.0])) for i in range(2)],
                sampler=dict(type='DefaultSampler', shuffle=False),
                collate_fn=dict(type='pseudo_collate'),
                batch_size=1,
                num_workers=0,
            ),
            train_cfg=dict(by_epoch=True, max_epochs=3),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
            default_hooks=dict(
                checkpoint=dict(type='CheckpointHook', max_keep_ckpts=2)
            ),
            default_scope='mmwsss',
            randomness=dict(seed=0),
            log_level='ERROR',
            experiment_name=f'write_faults_{next(numbers)}',
            load_from=start.load_from,
            resume=start.resume,
        )
        runner.train()


def pipeline_job(folder):
    """Two stages that each write a file."""

    def stage(name):
        made = folder / name / 'made'
        return Stage(
            name=name,
            commands=(),
            files=(folder / name,),
            settings=dict(name=name),
            output=lambda: digest_file(made),
            quality=dict,
            prepare=lambda: atomic_write_text(made, name),
        )

    Pipeline([stage('one'), stage('two')], folder).run()


def report_job(folder):
    """The seed metric's report, tags, and the archive for VOC's server."""
    figure = SimpleNamespace(savefig=lambda file, format: file.write(b'a picture'))
    summary = SimpleNamespace(thresholds=(0.5,), classes=('x',))
    source = SimpleNamespace(num_images=1)
    histogram = torch.ones(1, 2, 2, dtype=torch.int64)
    seed_report.write_report(
        folder / 'report', summary, source, histogram=histogram, figure=figure
    )
    write_tag_list(folder / 'tags.txt', dict(a=[0], b=[1]), ('x', 'y'))
    submission = runpy.run_path(str(ROOT / 'tools/analysis/voc_submission.py'))
    submission['write_archive'](folder / 'test.tgz', [('a.png', b'a' * 999)])


def dataset_job(folder):
    settings = SyntheticSettings(train=1, val=1, test=1, size=32)
    write_synthetic(folder / 'data', settings)


# --------------------------------------------------------------------------- checks


def finished(folder):
    """Return the bytes of all files under their final names."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file() and not path.name.startswith(TEMPORARY_PREFIX)
    }


def tensors_of_training(folder):
    """Return weights and momentum of the last checkpoint."""
    checkpoint = read_checkpoint(find_checkpoint(folder))
    momentum = checkpoint['optimizer']['state'][0]['momentum_buffer']
    weight = checkpoint['state_dict']['weight']
    return dict(weight=weight.tolist(), momentum=momentum.tolist())


def fails_with(job, folder, *, at, code):
    """Run a job on a failing disk; return the message, None if it went through."""
    folder.mkdir(parents=True, exist_ok=True)
    with failing_disk(folder, at=at, code=code):
        try:
            job(folder)
        except ArtefactError as error:
            return str(error)
    return None


def survives(
    job, place, *, result=finished, changing=(), kept='', in_turn=False, of='', first=0
):
    """Fail a job at each of its calls, run it again, and compare with a quiet run.

    Args:
        job: Works in a folder.
        place: Of the runs' folders.
        result: What of a folder must be equal in the end.
        changing: Files that are written more than once.
        kept: Suffix of the files that the second run must leave as they are.
        in_turn: One fault a call, for jobs that take long.
        of: Ends of the names of the files whose calls fail.
        first: So many calls fail in any case.

    Returns:
        The number of calls of the quiet run.
    """
    calls = count_calls(job, place / 'quiet')
    expected, told = result(place / 'quiet'), dict.fromkeys(CODES, 0)
    chosen = [
        at
        for at, (_, path) in enumerate(calls)
        if at < first or (path or '').endswith(of)
    ]
    for turn, at in enumerate(chosen):
        for code in CODES[turn % len(CODES) :][:1] if in_turn else CODES:
            folder = place / f'{code}_{at}'
            message = fails_with(job, folder, at=at, code=code)
            if message is not None:
                assert message.startswith(f'cannot write {folder}'), message
                assert REASONS[code] in message and 'finished files' in message
                told[code] += 1
            if result is finished:
                found = finished(folder)
                torn = [n for n in found.keys() & expected if found[n] != expected[n]]
                assert set(torn) <= set(changing), (at, code)
            before = inodes_of(folder, kept)
            job(folder)
            assert result(folder) == expected, (at, code)
            after = inodes_of(folder, kept)
            assert all(before[n] == after[n] for n in before.keys() & after), (at, code)
    assert all(told.values()), told
    return len(calls)


def inodes_of(folder, suffix):
    if not suffix:
        return {}
    return {path: path.stat().st_ino for path in folder.rglob(f'*{suffix}')}


def survives_a_kill(job, place, *, calls, kills, result=finished):
    expected = result(place / 'quiet')
    for at in random.Random(KILL_SEED).sample(range(calls), kills):
        folder = place / f'killed_{at}'
        assert killed_at(job, folder, at)
        job(folder)
        assert result(folder) == expected, at


def test_seed_stores(tmp_path, packing):
    calls = survives(seed_job, tmp_path, kept='.seed')
    survives_a_kill(seed_job, tmp_path, calls=calls, kills=3)


def test_label_stores_and_their_manifest(tmp_path, seeds, images):
    job = partial(label_job, seeds=seeds, images=images)
    calls = survives(job, tmp_path / 'runs', kept='.png', in_turn=True)
    survives_a_kill(job, tmp_path / 'runs', calls=calls, kills=3)


def test_seeds_exchanged_with_dictionaries(tmp_path, seeds):
    job = partial(exchange_job, seeds=seeds)
    calls = survives(job, tmp_path / 'runs', kept='.seed')
    survives_a_kill(job, tmp_path / 'runs', calls=calls, kills=2)


def test_accumulated_maps(tmp_path, accumulate_job, packing):
    settings = dict(changing=('maps/growth.jsonl',), in_turn=True)
    calls = survives(accumulate_job, tmp_path / 'runs', **settings)
    survives_a_kill(accumulate_job, tmp_path / 'runs', calls=calls, kills=5)


def without_times(folder):
    """Return the files of a pipeline but for the seconds that its stages took."""
    return {
        name: re.sub(rb'"seconds": [\d.]+', b'', content)
        for name, content in finished(folder).items()
    }


def test_records_of_a_pipeline(tmp_path):
    calls = survives(pipeline_job, tmp_path, result=without_times)
    survives_a_kill(pipeline_job, tmp_path, calls=calls, kills=2, result=without_times)


def test_reports_tags_and_archives(tmp_path, monkeypatch):
    monkeypatch.setattr(seed_report, 'report_record', lambda *_: dict(mIoU=0.5))
    survives(report_job, tmp_path)


def test_generated_data(tmp_path):
    settings = dict(changing=('data/synthetic.json',), in_turn=True)
    survives(dataset_job, tmp_path, of=('.json', '.txt', '.png'), first=9, **settings)


def test_checkpoints(tmp_path):
    result, of = tensors_of_training, ('.pth', LAST_CHECKPOINT)
    calls = survives(training_job, tmp_path, result=result, in_turn=True, of=of)
    survives_a_kill(training_job, tmp_path, calls=calls, kills=3, result=result)
