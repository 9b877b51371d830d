"""Resuming a real training gives the numbers of one that never stopped, bit for bit."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.runner import Runner
from recorded_run import assert_equal_states, run
from tiny_run import tiny_config, without_slow_logging

from mmwsss.utils.errors import ConfigError

EPOCH_ITERS = 4  # 8 images, 2 an iteration
EPOCHS = 3


@pytest.fixture
def make(tmp_path, voc_root, monkeypatch):
    without_slow_logging(monkeypatch)

    def make(name, **options):
        config = tiny_config(tmp_path, voc_root, **options)
        config.work_dir = str(tmp_path / name)
        config.train_cfg.max_epochs = EPOCHS
        return config

    return make


BY_ITERATION = dict(by_epoch=False, interval=1, max_keep_ckpts=-1)
BY_EPOCH = dict(by_epoch=True, interval=1)
AVERAGED = [dict(type='CountedRandomnessHook'), dict(type='EMAHook', momentum=0.1)]


@pytest.mark.parametrize(
    ('checkpoint', 'stop_at', 'resumed_at', 'accumulate'),
    [
        (BY_ITERATION, 6, 6, 2),
        (BY_ITERATION, 5, 5, 2),
        (BY_ITERATION, 5, 5, 1),
        (BY_ITERATION, 4, 4, 1),
        (BY_EPOCH, 6, 4, 1),
    ],
    ids=[
        'middle-accumulated',
        'within-an-accumulation',
        'middle',
        'end-by-iteration',
        'end-by-epoch',
    ],
)
def test_resume_is_exact(
    make, monkeypatch, checkpoint, stop_at, resumed_at, accumulate
):
    options = dict(
        custom_hooks=AVERAGED,
        default_hooks__checkpoint=dict(type='CheckpointHook', **checkpoint),
        optim_wrapper__accumulative_counts=accumulate,
    )
    straight, expected = run(make('straight', **options), monkeypatch=monkeypatch)
    assert sorted(expected) == list(range(EPOCHS * EPOCH_ITERS))
    run(make('broken', **options), stop_at=stop_at)
    again = make('broken', **options, resume=True)
    resumed, found = run(again, monkeypatch=monkeypatch)
    assert sorted(found) == list(range(resumed_at, EPOCHS * EPOCH_ITERS))
    assert found == {k: expected[k] for k in found}
    assert_equal_states(straight, resumed)


def test_runs_draw_and_pass_every_sample(make):
    """Guards the oracle above: without draws any resume would be exact."""
    _, expected = run(make('straight'))
    for epoch in range(EPOCHS):
        iterations = range(epoch * EPOCH_ITERS, (epoch + 1) * EPOCH_ITERS)
        seen = [sample for i in iterations for sample in expected[i]['samples']]
        assert sorted(seen) == list(range(8))
    orders = {tuple(expected[i]['samples']) for i in (0, 4, 8)}
    pixels = {
        pixels
        for seen in expected.values()
        for sample, pixels in zip(seen['samples'], seen['pixels'])
        if sample == 0
    }
    assert len(orders) == len(pixels) == 3


def test_gradients_of_several_processes_are_missed(make, monkeypatch):
    """Each had added up its own, of which a checkpoint has none."""
    options = dict(
        default_hooks__checkpoint=dict(type='CheckpointHook', **BY_ITERATION),
        optim_wrapper__accumulative_counts=2,
    )
    with monkeypatch.context() as several:
        module = 'mmwsss.engine.pending_gradients'
        several.setattr(f'{module}.get_world_size', lambda: 2)
        run(make('work', **options), stop_at=5)
    with pytest.raises(ConfigError, match='behind iteration 5 was written between two'):
        run(make('work', **options, resume=True))
    between = f'{make("work").work_dir}/iter_4.pth'
    _, found = run(make('work', **options, resume=True, load_from=between))
    assert min(found) == 4


def test_resume_with_a_drawn_seed_and_workers(make):
    options = dict(
        randomness__seed=None,
        train_dataloader__num_workers=1,
        train_dataloader__persistent_workers=True,
        default_hooks__checkpoint=dict(type='CheckpointHook', **BY_ITERATION),
    )
    first, expected = run(make('work', **options))
    checkpoint = str(first.work_dir) + '/iter_6.pth'
    assert torch.load(checkpoint, weights_only=False)['meta']['samples_done'] == 4
    config = make('again', **options, resume=True, load_from=checkpoint)
    resumed, found = run(config)
    assert resumed.seed == first.seed
    assert found == {k: expected[k] for k in range(6, EPOCHS * EPOCH_ITERS)}
    assert_equal_states(first, resumed)


def test_resume_of_an_iteration_based_run(make):
    options = dict(
        default_hooks__checkpoint=dict(type='CheckpointHook', **BY_ITERATION),
        log_processor__by_epoch=False,
        param_scheduler=[dict(type='PolyLR', power=0.9, end=12, by_epoch=False)],
        randomness__seed=None,
    )

    def iteration_based(name, **more):
        config = make(name, **options, **more)
        config.train_cfg = ConfigDict(type='IterBasedTrainLoop', max_iters=12)
        config.train_dataloader.sampler.type = 'InfiniteCountedSampler'
        return config

    straight, expected = run(iteration_based('straight'))
    checkpoint = str(straight.work_dir) + '/iter_5.pth'
    config = iteration_based('again', resume=True, load_from=checkpoint)
    resumed, found = run(config)
    assert found == {k: expected[k] for k in range(5, 12)}
    assert_equal_states(straight, resumed)


def test_checkpoint_of_the_best_epoch_begins_the_next_one(make):
    options = dict(
        default_hooks__checkpoint=dict(
            type='CheckpointHook', save_best='seed/mIoU_best', max_keep_ckpts=-1
        )
    )

    def validated(name, **more):
        config = make(name, **options, **more)
        config.val_dataloader = config.test_dataloader
        config.val_evaluator = config.test_evaluator
        config.val_cfg = ConfigDict(type='ValLoop')
        return config

    straight, expected = run(validated('straight'))
    checkpoint = str(straight.work_dir) + '/epoch_1.pth'
    again = validated('again', resume=True, load_from=checkpoint)
    resumed, found = run(again)
    assert found == {k: expected[k] for k in range(4, 12)}
    assert_equal_states(straight, resumed)


@pytest.fixture
def loop(make, monkeypatch):
    config = make('loop')
    runner = Runner.from_cfg(config)
    runner.train_loop.dataloader  # noqa: B018 (built here)
    module = 'mmwsss.engine.loops.resumable_epoch_loop'

    def with_processes(number):
        monkeypatch.setattr(f'{module}.get_world_size', lambda: number)
        return runner.train_loop

    return with_processes


def test_place_in_the_epoch_with_other_process_counts(loop):
    alone = loop(1)
    alone._epoch_first_iter = 4
    assert alone.samples_done(6) == 4
    # Two processes with two images each are one iteration into the epoch.
    pair = loop(2)
    assert pair.batch_samples == 4
    pair.resume_within_epoch(4)
    assert pair._resumed_samples == 4
    many = loop(3)
    with pytest.raises(ConfigError, match=r'after 4 samples .* with 6 samples an iter'):
        many.resume_within_epoch(4)


@pytest.mark.parametrize(('processes', 'iterations'), [(1, 4), (2, 4), (3, 4)])
def test_a_finished_epoch_is_finished_with_any_process_count(
    loop, processes, iterations
):
    """Length of the (unsharded) loader stands; 8 samples are no multiple of 6."""
    among = loop(processes)
    among.resume_within_epoch(8)
    assert among._resumed_samples == iterations * among.batch_samples


def test_epoch_loop_refuses_other_samplers(make):
    config = make('work', train_dataloader__sampler__type='DefaultSampler')
    config.train_dataloader.dataset.pipeline.pop(0)
    runner = Runner.from_cfg(config)
    with pytest.raises(ConfigError, match="sampler.type='CountedSampler'"):
        runner.train()


def test_seeds_of_processes_are_refused(make):
    runner = Runner.from_cfg(make('work', randomness__diff_rank_seed=True))
    with pytest.raises(ConfigError, match='randomness.diff_rank_seed'):
        runner.train()


def test_loading_weights_is_not_resuming(make):
    options = dict(
        default_hooks__checkpoint=dict(type='CheckpointHook', **BY_ITERATION)
    )
    run(make('first', **options), stop_at=6)
    weights = make('first').work_dir + '/iter_6.pth'
    _, found = run(make('second', load_from=weights), stop_at=1)
    assert found[0]['batch'] == 0
