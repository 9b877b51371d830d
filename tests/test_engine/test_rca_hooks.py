"""When memory and prototypes change, seen from checkpoints and validation."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.evaluator import Evaluator
from mmengine.hooks import SyncBuffersHook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from tiny_run import without_slow_logging
from torch import nn
from torch.utils.data import Dataset

from mmwsss.engine.hooks import PrototypeRefreshHook, RegionMemoryHook
from mmwsss.engine.model_methods import unwrap
from mmwsss.registry import HOOKS
from mmwsss.utils.errors import ConfigError

EPOCH_ITERS, EPOCHS = 4, 3


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    without_slow_logging(monkeypatch)


class Four(Dataset):
    def __len__(self):
        return EPOCH_ITERS

    def __getitem__(self, index):
        return dict(inputs=torch.ones(1))


class Plain(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, inputs, mode='tensor'):
        return dict(loss=self.layer(torch.stack(inputs)).sum())


class Remembering(Plain):
    """Counts in buffers, which checkpoints carry."""

    def __init__(self):
        super().__init__()
        for name in ('staged', 'written', 'refreshes', 'written_at_refresh'):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))
        self.refreshes_at_validation = []

    def forward(self, inputs, mode='tensor'):
        if mode == 'predict':
            self.refreshes_at_validation.append(int(self.refreshes))
            return [BaseDataElement()]
        self.staged += 1
        return super().forward(inputs, mode)

    def update_memory(self):
        self.written.copy_(self.staged)

    def refresh_prototypes(self):
        self.refreshes += 1
        self.written_at_refresh.copy_(self.written)


def make_runner(folder, model, hooks, *, checkpoint, by_epoch=True):
    loader = ConfigDict(
        dataset=Four(),
        batch_size=1,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'),
    )
    return Runner(
        model,
        work_dir=str(folder),
        train_dataloader=loader,
        val_dataloader=loader,
        val_evaluator=Evaluator([]),
        val_cfg=dict(type='ValLoop'),
        train_cfg=dict(by_epoch=True, max_epochs=EPOCHS)
        if by_epoch
        else dict(by_epoch=False, max_iters=EPOCHS * EPOCH_ITERS, val_interval=100),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
        custom_hooks=hooks,
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', **checkpoint)),
        default_scope='mmwsss',
        log_level='ERROR',
        experiment_name=folder.name,
    )


def counts_in(path, *names):
    state = torch.load(path, weights_only=False)['state_dict']
    return tuple(int(state[name]) for name in names)


MEMORY = dict(type='RegionMemoryHook')
BOTH = [dict(type='PrototypeRefreshHook'), MEMORY]  # also in the wrong order
EVERY = dict(interval=1, max_keep_ckpts=-1)


@pytest.mark.parametrize(
    ('interval', 'refreshes', 'written'), [(1, [1, 2, 3], 12), (2, [0, 1, 1], 8)]
)
def test_refresh_by_epoch(tmp_path, interval, refreshes, written):
    model = Remembering()
    hooks = [dict(type='PrototypeRefreshHook', interval=interval), MEMORY]
    make_runner(tmp_path, model, hooks, checkpoint=EVERY).train()
    for epoch, expected in enumerate(refreshes, 1):
        found = counts_in(tmp_path / f'epoch_{epoch}.pth', 'refreshes', 'written')
        assert found == (expected, epoch * EPOCH_ITERS)
    # 4 validation batches an epoch
    expected = [count for count in refreshes for _ in range(EPOCH_ITERS)]
    assert model.refreshes_at_validation == expected
    assert int(model.written_at_refresh) == written


def test_refresh_by_iteration(tmp_path):
    model = Remembering()
    hooks = [dict(type='PrototypeRefreshHook', interval=3, by_epoch=False), MEMORY]
    checkpoint = dict(by_epoch=False, **EVERY)
    make_runner(tmp_path, model, hooks, checkpoint=checkpoint, by_epoch=False).train()
    names = 'written', 'refreshes', 'written_at_refresh'
    for iteration in range(1, EPOCHS * EPOCH_ITERS + 1):
        found = counts_in(tmp_path / f'iter_{iteration}.pth', *names)
        assert found == (iteration, iteration // 3, iteration // 3 * 3)


@pytest.mark.parametrize(
    ('name', 'method'),
    [
        ('RegionMemoryHook', 'update_memory'),
        ('PrototypeRefreshHook', 'refresh_prototypes'),
    ],
)
def test_model_without_the_method(tmp_path, name, method):
    runner = make_runner(tmp_path, Plain(), [dict(type=name)], checkpoint=EVERY)
    message = (
        rf'{name} calls {method}\(\), which Plain does not have; set model.type='
        rf"'RCAClassifier', or take the {name} off custom_hooks"
    )
    with pytest.raises(ConfigError, match=message):
        runner.train()


def test_averaged_buffers_are_refused(tmp_path):
    runner = make_runner(tmp_path, Remembering(), [MEMORY], checkpoint=EVERY)
    runner.register_hook(SyncBuffersHook())
    with pytest.raises(ConfigError, match='SyncBuffersHook .* off custom_hooks'):
        runner.train()


def test_epochs_of_a_loop_without_any(tmp_path):
    runner = make_runner(
        tmp_path, Remembering(), BOTH, checkpoint=EVERY, by_epoch=False
    )
    with pytest.raises(ConfigError, match='by_epoch=False and the interval in iter'):
        runner.train()


class Contrasting(Remembering):
    """Its memory is in a part, as that of a composed classifier."""

    def __init__(self, contrast_from):
        super().__init__()
        self.part = nn.Module()
        self.part.contrast, self.part.contrast_from = nn.Identity(), contrast_from


def test_contrast_that_would_never_begin(tmp_path):
    def run(contrast_from, *, by_epoch):
        model, folder = Contrasting(contrast_from), tmp_path / f'{contrast_from}'
        make_runner(
            folder, model, [MEMORY], checkpoint=EVERY, by_epoch=by_epoch
        ).train()
        return int(model.written)

    with pytest.raises(ConfigError, match='contrast_from=2 counts epochs'):
        run(2, by_epoch=False)
    assert run(0, by_epoch=False) == run(1, by_epoch=True) == EPOCHS * EPOCH_ITERS


def test_interval_below_one():
    with pytest.raises(ConfigError, match='interval must be at least 1, got 0'):
        PrototypeRefreshHook(interval=0)


@pytest.mark.parametrize(
    ('name', 'message'),
    [('RegionMemoryHook', 'takes no arguments'), ('PrototypeRefreshHook', 'intervall')],
)
def test_mistyped_key(name, message):
    with pytest.raises(TypeError, match=message):
        HOOKS.build(dict(type=name, intervall=2))


class Wrapped:
    """A runner whose model is inside a wrapper."""

    hooks = ()
    train_loop = None
    epoch = iter = 0

    def __init__(self, model):
        self.model = nn.DataParallel(nn.DataParallel(model))


def test_wrapped_models_are_unwrapped():
    model = Remembering()
    runner = Wrapped(model)
    assert unwrap(runner.model) is unwrap(model) is model
    model.staged += 5
    for hook in (RegionMemoryHook(), PrototypeRefreshHook()):
        hook.before_train(runner)
        hook.after_train_iter(runner, 0)
        hook.after_train_epoch(runner)
    assert (int(model.written), int(model.refreshes)) == (5, 1)
    with pytest.raises(ConfigError, match='which Plain does not have'):
        RegionMemoryHook().before_train(Wrapped(Plain()))
