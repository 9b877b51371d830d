"""Accumulated maps of a run: stopped anywhere, it ends with the same bytes."""

import errno
import json
import shutil

import numpy as np
import pytest
import torch
from accumulation_run import COUNT, HOOKS, IDS, accumulated, config_maker, run
from mmengine.config import ConfigDict
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from pseudo_label_run import files_of, one_thread
from tiny_run import without_slow_logging

from mmwsss.apis import accumulation as module
from mmwsss.apis.accumulated_store import open_accumulated, read_growth
from mmwsss.apis.accumulation import MapAccumulator
from mmwsss.apis.seeds import load_classifier
from mmwsss.engine.hooks import MapAccumulationHook
from mmwsss.structures.seed_record import SeedCodec
from mmwsss.utils import atomic
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.checkpoint import read_checkpoint
from mmwsss.utils.errors import ArtefactError, ConfigError


@pytest.fixture
def make(tmp_path, voc_root, monkeypatch):
    without_slow_logging(monkeypatch)
    with one_thread(monkeypatch):
        yield config_maker(tmp_path, voc_root)


def test_records_are_maxima_over_the_checkpoints(make):
    """Each kept checkpoint's maps, computed again, against the final store."""
    every = dict(default_hooks__checkpoint__max_keep_ckpts=-1)
    config = make('work', **every, hook=dict(gate=0.0))
    run(config)
    assert [line['epoch'] for line in read_growth(accumulated(config))] == [2, 3, 4, 5]
    expected = {}
    for epoch in (2, 3, 4, 5):
        model = load_classifier(config, f'{config.work_dir}/epoch_{epoch}.pth')
        loader = dict(config.seed_dataloader, sampler=dict(type='DefaultSampler'))
        loader['sampler']['shuffle'] = False
        for name, batch in zip(IDS, Runner.build_dataloader(loader)):
            with torch.no_grad():
                (sample,) = model.test_step(batch)
            maps = sample.localization.data.double()
            steps = (255 * maps / (maps.amax((1, 2), keepdim=True) + 1e-8)).round()
            expected[name] = torch.maximum(expected.get(name, steps), steps)
    store = open_accumulated(accumulated(config))
    for name in IDS:
        np.testing.assert_array_equal(store.read(name).maps, expected[name].numpy())
        assert store.read(name).maps.max() == 255


def test_accumulation_leaves_the_training_alone(make):
    with_maps = run(make('with'))
    plain = make('without')
    plain.custom_hooks = HOOKS[:1]
    expected = run(plain).model.state_dict()
    found = with_maps.model.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def in_the_middle(monkeypatch):
    """Stop when the sixth record would be written: the second epoch's second."""
    stop_call(monkeypatch, ArtefactStore, 'write', COUNT + 2)


def before_it_is_current(monkeypatch):
    stop_call(monkeypatch, MapAccumulator, '_note', 2)


def before_old_maps_go(monkeypatch):
    stop_call(monkeypatch, module, '_remove', 1)


def before_the_checkpoint(monkeypatch):
    stop_call(monkeypatch, CheckpointHook, 'after_train_epoch', 3)


def behind_the_first(monkeypatch):
    stop_call(monkeypatch, CheckpointHook, 'after_train_epoch', 2)


def in_training(monkeypatch):
    stop_call(monkeypatch, CheckpointHook, 'after_train_iter', 7)


def stop_call(monkeypatch, owner, name, number):
    """Raise at a call as a killed process would, without cleaning up."""
    calls, method = [], getattr(owner, name)

    def stop(*args, **kwargs):
        calls.append(name)
        if len(calls) == number:
            raise KeyboardInterrupt
        return method(*args, **kwargs)

    monkeypatch.setattr(owner, name, stop)


@pytest.mark.parametrize(
    'stop',
    [
        in_the_middle,
        before_it_is_current,
        before_old_maps_go,
        before_the_checkpoint,
        behind_the_first,
        in_training,
    ],
)
def test_stopped_and_resumed_run_ends_with_the_same_bytes(make, monkeypatch, stop):
    straight = make('straight')
    run(straight)
    with monkeypatch.context() as power_cut:
        stop(power_cut)
        with pytest.raises(KeyboardInterrupt):
            run(make('broken'))
    again = make('broken', resume=True)
    run(again)
    expected = files_of(accumulated(straight))
    assert files_of(accumulated(again)) == expected
    folders = {name.split('/')[0] for name in expected}
    assert folders == {'growth.jsonl', 'epoch_3', 'epoch_4', 'epoch_5'}


def test_old_maps_go_with_the_checkpoints(make):
    config = make('work', hook=dict(keep=1))
    run(config)
    names = {path.name for path in accumulated(config).iterdir()}
    assert names == {'growth.jsonl', 'epoch_4', 'epoch_5'}
    for epoch, kept in ((4, 1), (5, 1)):
        meta = read_checkpoint(f'{config.work_dir}/epoch_{epoch}.pth')['meta']
        assert len(meta['accumulated']) == kept


def test_an_abandoned_continuation_leaves_no_trace(make, tmp_path):
    """Go back to an earlier checkpoint and train on with another weight decay."""
    options = dict(default_hooks__checkpoint__max_keep_ckpts=-1, hook=dict(keep=4))
    first = make('work', **options)
    run(first)
    clean = make('clean', **options)
    shutil.copytree(first.work_dir, clean.work_dir)
    for epoch in (3, 4, 5):
        shutil.rmtree(accumulated(clean) / f'epoch_{epoch}')
    other = dict(resume=True, load_from=f'{first.work_dir}/epoch_2.pth')
    for config in (first, clean):
        before = files_of(accumulated(config) / 'epoch_2')
        config.merge_from_dict(other)
        config.optim_wrapper.optimizer.weight_decay = 0.3
        abandoned = files_of(accumulated(first) / 'epoch_5')
        run(config)
        assert files_of(accumulated(config) / 'epoch_2') == before
    assert files_of(accumulated(first)) == files_of(accumulated(clean))
    assert files_of(accumulated(first) / 'epoch_5') == abandoned


def test_run_resumed_without_its_maps(make):
    options = dict(hook=dict(keep=1), default_hooks__checkpoint__max_keep_ckpts=-1)
    config = make('work', **options)
    run(config)
    second = f'{config.work_dir}/epoch_2.pth'
    early = make('work', **options, resume=True, load_from=second)
    with pytest.raises(ArtefactError, match=r'epoch_2 is gone: put it back, or resume'):
        run(early)
    shutil.rmtree(accumulated(config))
    late = make('work', **options, resume=True)
    with pytest.raises(ArtefactError, match='does not hold the accumulated maps that'):
        run(late)


def test_changed_maps_are_not_taken_up(make):
    config = make('work')
    run(config)
    index = accumulated(config) / 'epoch_5/index.json'
    index.write_text(index.read_text().replace('a', 'b'))
    with pytest.raises(ArtefactError, match='epoch_5 has changed since it was made'):
        run(make('work', resume=True))


def test_damaged_growth(make):
    config = make('work')
    accumulated(config).mkdir(parents=True)
    (accumulated(config) / 'growth.jsonl').write_text('{"epoch"')
    with pytest.raises(ArtefactError, match='growth.jsonl is damaged'):
        run(config)


def test_same_run_from_the_start_makes_the_same(make):
    config = make('work')
    run(config)
    before = files_of(accumulated(config))
    run(make('work'))
    assert files_of(accumulated(config)) == before


@pytest.mark.parametrize(
    ('hook', 'options', 'what'),
    [
        (dict(gate=0.2), {}, 'accumulation'),
        (dict(interval=2), {}, 'accumulation'),
        ({}, dict(randomness__seed=5), 'accumulation'),
        ({}, dict(model__localization__kind='cam_grad'), 'config'),
    ],
)
def test_maps_of_another_run_are_refused(make, hook, options, what):
    run(make('work'))
    config = make('work', hook=hook, **options)
    before = files_of(accumulated(config))
    message = f'epoch_. holds seeds of another {what} .*: choose'
    with pytest.raises(ArtefactError, match=message):
        run(config)
    assert files_of(accumulated(config)) == before


def test_interval_and_last_epoch(make):
    config = make('work', hook=dict(begin=0, interval=2))
    run(config)
    lines = read_growth(accumulated(config))
    assert [line['epoch'] for line in lines] == [1, 3, 5]
    assert [line['last'] for line in lines] == [False, False, True]
    assert lines[-1]['maps'] == lines[-1]['tags'] == 6


def test_another_folder(make, tmp_path):
    config = make('work', hook=dict(out_dir=str(tmp_path / 'maps')))
    run(config)
    assert not accumulated(config).exists()
    assert open_accumulated(tmp_path / 'maps').keys() == IDS


# ---------------------------------------------------------------------- bad input


def test_read_only_folder_is_one_clear_error(make, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EROFS, 'Read-only file system')

    config = make('work')
    runner = Runner.from_cfg(config)
    monkeypatch.setattr(atomic.os, 'replace', refuse)
    with pytest.raises(ArtefactError) as caught:
        runner.train()
    assert str(caught.value) == (
        f'cannot write {accumulated(config)}/growth.jsonl: the file system is '
        'read-only: choose a folder on a writable disk; then run again, finished '
        'files are kept'
    )


@pytest.mark.parametrize(
    'settings', [dict(begin=-1), dict(interval=0), dict(keep=0), dict(gate=1.5)]
)
def test_values_out_of_range(settings):
    with pytest.raises(ConfigError, match='MapAccumulationHook: expected begin >= 0'):
        MapAccumulationHook(**settings)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(model__tags='predicted'), 'accumulated for given tags: set seed_data'),
        (dict(seed_dataloader__dataset__tag_file=None), 'images have no tags: set'),
    ],
)
def test_images_without_tags(make, options, message):
    with pytest.raises(ConfigError, match=message):
        run(make('work', **options))


def test_config_without_seed_dataloader(make):
    config = make('work')
    config.pop('seed_dataloader')
    with pytest.raises(ConfigError, match='the config has no seed_dataloader'):
        run(config)


def test_loop_without_epochs(make):
    config = make('work')
    config.train_cfg = ConfigDict(type='IterBasedTrainLoop', max_iters=2)
    config.train_dataloader.sampler.type = 'InfiniteCountedSampler'
    with pytest.raises(ConfigError, match="train_cfg.type='ResumableEpochLoop'"):
        run(config)


def test_growth_is_json_by_line(make):
    config = make('work')
    run(config)
    lines = (accumulated(config) / 'growth.jsonl').read_text().splitlines()
    assert [json.loads(line)['epoch'] for line in lines] == [2, 3, 4, 5]
    digest = ArtefactStore.open(accumulated(config) / 'epoch_5', SeedCodec()).digest()
    assert json.loads(lines[-1])['store'] == digest
