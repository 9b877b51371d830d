"""A loss that is not finite stops a training, by name, and leaves its state."""

import errno
import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from pseudo_label_run import ROOT
from tiny_run import without_slow_logging
from torch import nn
from torch.multiprocessing import start_processes
from write_faults import failing_disk

from mmwsss.engine.hooks import FiniteLossHook
from mmwsss.utils.checkpoint import find_resumable, read_checkpoint
from mmwsss.utils.distributed import on_any_process
from mmwsss.utils.errors import TrainingError
from mmwsss.utils.finiteness import first_not_finite

BATCH, ITERATIONS = 2, 3


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    without_slow_logging(monkeypatch)


class Remembering(BaseModel):
    """Gives losses that are foretold, and counts what its memory keeps of them."""

    def __init__(self, losses, gradient=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.register_buffer('written', torch.zeros((), dtype=torch.int64))
        self.losses, self.gradient = iter(losses), gradient

    def forward(self, inputs, data_samples, mode='tensor'):
        flat = self.weight - self.weight.detach()
        value = next(self.losses)
        return dict(loss_one=value + self.gradient * flat, loss_two=0 * flat + 2)

    def update_memory(self):
        self.written += 1


def batch_of(first):
    names = [f'images/{n}.jpg' for n in range(first, first + BATCH)]
    return [BaseDataElement(metainfo=dict(img_path=name)) for name in names]


def runner_of(folder, model, *, lr=0.0):
    items = [
        dict(inputs=torch.zeros(1), data_samples=sample)
        for iteration in range(ITERATIONS)
        for sample in batch_of(BATCH * iteration)
    ]
    return Runner(
        model,
        work_dir=str(folder),
        train_dataloader=dict(
            dataset=items,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
            batch_size=BATCH,
            num_workers=0,
        ),
        train_cfg=dict(by_epoch=False, max_iters=ITERATIONS, val_interval=99),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=lr)),
        default_hooks=dict(
            finite_loss=dict(type='FiniteLossHook'),
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1),
        ),
        custom_hooks=[dict(type='RegionMemoryHook')],
        default_scope='mmwsss',
        log_level='ERROR',
        experiment_name=f'finite_{folder.parent.name}_{folder.name}',
    )


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_it_stops_with_images_losses_and_the_state(tmp_path, value):
    model = Remembering([1.0, value, 1.0])
    with pytest.raises(TrainingError) as caught:
        runner_of(tmp_path, model).train()
    state = tmp_path / 'nonfinite_iter_2.pth'
    assert str(caught.value) == (
        f'the loss is not finite behind iteration 2 (loss {value:g}, loss_one '
        f'{value:g}, loss_two 2), batch of images/2.jpg, images/3.jpg; its state is in '
        f'{state}, which --resume passes over: look at these images, then go on from '
        'the last checkpoint with --resume and optim_wrapper.clip_grad.max_norm set, '
        'or train anew with a smaller learning rate'
    )
    checkpoint = read_checkpoint(state)
    found = checkpoint['meta']['nonfinite']
    assert found['images'] == ['images/2.jpg', 'images/3.jpg']
    assert sorted(found['losses']) == ['loss', 'loss_one', 'loss_two']
    assert checkpoint['meta']['iter'] == 2
    assert {'state_dict', 'optimizer', 'message_hub'} <= checkpoint.keys()
    # neither the memory nor a checkpoint has anything of that iteration
    assert int(model.written) == int(checkpoint['state_dict']['written']) == 1
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == [
        'iter_1.pth',
        'nonfinite_iter_2.pth',
    ]
    assert find_resumable(tmp_path) == tmp_path / 'iter_1.pth'


def test_weights_that_are_not_finite_are_no_checkpoint(tmp_path):
    """The loss is finite, its gradient is not: the next loss would tell, too late."""
    model = Remembering([1.0] * ITERATIONS, gradient=1e30)
    with pytest.raises(TrainingError) as caught:
        runner_of(tmp_path, model, lr=1e30).train()
    message = str(caught.value)
    assert message.startswith(
        'weight of the model is not finite behind iteration 1, batch of images/0.jpg, '
        f'images/1.jpg; its state is in {tmp_path}/nonfinite_iter_1.pth'
    )
    assert [path.name for path in tmp_path.glob('*.pth')] == ['nonfinite_iter_1.pth']
    assert find_resumable(tmp_path) is None


def test_finite_losses_pass(tmp_path):
    model = Remembering([1.0, 1e30, 0.0])
    runner_of(tmp_path, model).train()
    assert int(model.written) == ITERATIONS
    assert not list(tmp_path.glob('nonfinite*'))


def test_a_full_disk_does_not_hide_the_images(tmp_path):
    runner = runner_of(tmp_path, Remembering([math.nan]))
    save = runner.save_checkpoint

    def save_on_full_disk(*args, **options):
        with failing_disk(tmp_path, at=0, code=errno.ENOSPC):
            save(*args, **options)

    runner.save_checkpoint = save_on_full_disk
    message = 'images/0.jpg, images/1.jpg; its state could not be written .No space'
    with pytest.raises(TrainingError, match=message):
        runner.train()


def test_batches_and_outputs_without_names(tmp_path):
    saved = []
    runner = SimpleNamespace(
        iter=6, work_dir='work', save_checkpoint=lambda *args, **_: saved.append(args)
    )
    hook = FiniteLossHook()
    for outputs in (None, {}, dict(accuracy=torch.tensor(math.nan))):
        hook.after_train_iter(runner, 0, None, outputs)
    message = 'behind iteration 7 .loss inf., batch of unnamed images; its state is in'
    with pytest.raises(TrainingError, match=message):
        hook.after_train_iter(runner, 0, {}, dict(loss=torch.tensor(math.inf)))
    assert saved == [('work', 'nonfinite_iter_7.pth')]


def stop_together(rank, size, folder, losses):
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(f'{folder}/rendezvous', size)
    torch.distributed.init_process_group(
        'gloo', store=store, rank=rank, world_size=size
    )
    runner = SimpleNamespace(iter=0, work_dir='w', save_checkpoint=lambda *_, **__: 0)
    hook, messages = FiniteLossHook(), []
    for loss in losses:
        batch = dict(data_samples=batch_of(BATCH * rank))
        try:
            outputs = dict(loss=torch.tensor(loss[rank]))
            hook.after_train_iter(runner, 0, batch, outputs)
            messages.append('')
        except TrainingError as error:
            messages.append(str(error))
    flags = [on_any_process(flag) for flag in (False, rank == 1, True)]
    torch.save((messages, flags), f'{folder}/{rank}.pt')
    torch.distributed.destroy_process_group()


def test_processes_stop_together_and_name_the_images_of_one(tmp_path):
    losses = [(1.0, 2.0), (1.0, math.nan), (math.inf, math.nan)]
    start_processes(
        stop_together, (2, str(tmp_path), losses), nprocs=2, start_method='fork'
    )
    found, same = (torch.load(tmp_path / f'{rank}.pt') for rank in range(2))
    assert found == same
    messages, flags = found
    assert flags == [False, True, True]
    assert messages[0] == ''
    assert '(loss nan), batch of images/2.jpg, images/3.jpg;' in messages[1]
    every = ', '.join(f'images/{n}.jpg' for n in range(4))
    assert f'(loss inf), batch of {every};' in messages[2]


@pytest.mark.parametrize('path', sorted((ROOT / 'configs/_base_').glob('*runtime.py')))
def test_every_runtime_has_it(path):
    hooks = Config.fromfile(path).default_hooks
    assert hooks.finite_loss.type.removeprefix('mmwsss.') == 'FiniteLossHook'


def test_first_tensor_that_is_not_finite():
    counts = torch.tensor([2**62])
    assert first_not_finite(dict(a=counts, b=torch.zeros(0), c=torch.ones(2))) is None
    for value in (math.nan, math.inf, -math.inf):
        bad = torch.tensor([0.0, value]).bfloat16()
        assert first_not_finite(dict(a=torch.ones(1), b=bad, c=bad)) == 'b'
