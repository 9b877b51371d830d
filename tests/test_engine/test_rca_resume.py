"""RCA stopped and resumed: bank, prototypes, averages and maps as if it never was."""

import pytest
import torch
from accumulation_run import accumulated
from mmengine.config import ConfigDict
from mmengine.hooks import Hook
from pseudo_label_run import files_of, one_thread
from recorded_run import assert_equal_states, assert_equal_tensors, run, state_of
from tiny_rca import ACCUMULATION, CLOCKS, write_rca_config
from tiny_run import without_slow_logging

from mmwsss.registry import HOOKS
from mmwsss.utils.checkpoint import read_checkpoint
from mmwsss.utils.errors import ConfigError

EPOCH_ITERS, EPOCHS = 4, 3  # 8 images, 2 an iteration
AVERAGE = dict(type='EMAHook', momentum=0.1)
BY_EPOCH = (*CLOCKS, AVERAGE, ACCUMULATION)
# the average is taken before the refresh: also in this order nothing may differ
EVERY_THIRD = (
    *CLOCKS[:2],
    AVERAGE,
    dict(CLOCKS[2], by_epoch=False, interval=3),
    ACCUMULATION,
)


@pytest.fixture
def make(tmp_path, voc_root, monkeypatch):
    without_slow_logging(monkeypatch)
    make_config = write_rca_config(tmp_path, voc_root)

    def make(name, *, hooks=BY_EPOCH, **options):
        config = make_config(name, hooks=hooks, **options)
        config.train_cfg.max_epochs = EPOCHS
        return config

    with one_thread(monkeypatch):
        yield make


def checkpoints(**settings):
    return dict(default_hooks__checkpoint=dict(type='CheckpointHook', **settings))


EVERY_ITERATION = checkpoints(by_epoch=False, interval=1, max_keep_ckpts=-1)


@pytest.mark.parametrize(
    ('options', 'stop_at', 'resumed_at'),
    [
        (dict(EVERY_ITERATION), 5, 5),
        (dict(EVERY_ITERATION, hooks=EVERY_THIRD), 6, 6),
        (dict(EVERY_ITERATION), 4, 4),
        (dict(), 6, 4),
    ],
    ids=['middle', 'at-a-refresh', 'contrast-begins', 'checkpoint-of-an-epoch'],
)
def test_resume_is_exact(make, monkeypatch, options, stop_at, resumed_at):
    straight, expected = run(make('straight', **options), monkeypatch=monkeypatch)
    run(make('broken', **options), stop_at=stop_at)
    again = make('broken', **options, resume=True)
    resumed, found = run(again, monkeypatch=monkeypatch)
    assert sorted(found) == list(range(resumed_at, EPOCHS * EPOCH_ITERS))
    assert found == {k: expected[k] for k in found}
    assert_equal_states(straight, resumed)
    maps = files_of(accumulated(straight.cfg))
    assert files_of(accumulated(resumed.cfg)) == maps
    assert {name.split('/')[0] for name in maps} == {
        'growth.jsonl',
        *(f'epoch_{n}' for n in range(1, EPOCHS + 1)),
    }


def test_the_run_has_all_that_is_resumed(make, monkeypatch):
    """Guards the oracle above: each part is there and changes."""
    runner, seen = run(make('straight'), monkeypatch=monkeypatch)
    tensors, _ = state_of(runner)
    for part in ('model', 'average'):
        prefix = f'{part} module.' if part == 'average' else f'{part} '
        assert tensors[f'{prefix}memory.features'].abs().sum() > 0
        assert tensors[f'{prefix}memory.pointer'].sum() > 0
        assert tensors[f'{prefix}aggregation.prototypes'].abs().sum() > 0
    # the last refresh is behind the last average
    assert tensors['model aggregation.refreshes'] == EPOCHS
    assert tensors['average module.aggregation.refreshes'] == EPOCHS - 1
    assert tensors['average steps'] == EPOCHS * EPOCH_ITERS
    weight, average = (
        tensors[f'{part}backbone.conv.weight'] for part in ('model ', 'average module.')
    )
    assert not torch.equal(weight, average)
    begun = [k for k, noted in seen.items() if 'loss_contrast' in noted['losses']]
    assert begun == list(range(EPOCH_ITERS, EPOCHS * EPOCH_ITERS))
    assert all(seen[k]['losses']['loss_contrast'] > 0 for k in begun)
    uses = [{key[0] for key in noted['keys']} for noted in seen.values()]
    # samples and the step are drawn for each; partners of regions once it has begun
    assert uses == [{1, 2}] * EPOCH_ITERS + [{1, 2, 4}] * (2 * EPOCH_ITERS)
    assert len({noted['generators'] for noted in seen.values()}) == len(seen)


@HOOKS.register_module(force=True)
class ValidatedWeights(Hook):
    """Keeps what is validated."""

    def __init__(self):
        self.states = []

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx == 0:
            state = runner.model.state_dict()
            self.states.append({name: value.clone() for name, value in state.items()})


def test_averaged_checkpoint_is_what_was_validated(make):
    config = make('validated', hooks=(*BY_EPOCH, dict(type='ValidatedWeights')))
    config.val_dataloader = config.test_dataloader
    config.val_evaluator = config.test_evaluator
    config.val_cfg = ConfigDict(type='ValLoop')
    runner, _ = run(config)
    (states,) = [h.states for h in runner.hooks if isinstance(h, ValidatedWeights)]
    assert len(states) == EPOCHS
    for epoch in (2, 3):  # two are kept
        state = read_checkpoint(f'{config.work_dir}/epoch_{epoch}.pth')['state_dict']
        assert int(state['aggregation.refreshes']) == epoch
        assert_equal_tensors(state, states[epoch - 1])


def test_averaged_bank_is_refused(make):
    hooks = (*CLOCKS, dict(AVERAGE, update_buffers=True))
    with pytest.raises(ConfigError, match='EMAHook with update_buffers averages the m'):
        run(make('averaged', hooks=hooks))
