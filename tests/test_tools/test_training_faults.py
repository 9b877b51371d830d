"""Faults in the middle of train.py: one clear line, and --resume ends as if quiet."""

import errno
import importlib.util
import os
import signal
import sys

import pytest
import torch
from pseudo_label_run import one_thread
from tiny_run import ROOT, without_slow_logging, write_tiny_config
from torch.utils.data import get_worker_info
from write_faults import failing_disk

from mmwsss.apis.launch import run_tool
from mmwsss.datasets.transforms import LoadImage
from mmwsss.engine.loops import ResumableEpochLoop
from mmwsss.models.classifiers import ACRClassifier
from mmwsss.utils.checkpoint import find_resumable, read_checkpoint

LOST = '2007_000003'
FIRST, LAST = 'epoch_1.pth', 'epoch_2.pth'


def load_train():
    path = ROOT / 'tools/train.py'
    spec = importlib.util.spec_from_file_location('train_with_faults', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


train = load_train()


@pytest.fixture
def call(tmp_path, voc_root, monkeypatch, capfd):
    """Train two epochs in a folder; return the lines on stderr, none if all is well."""
    without_slow_logging(monkeypatch)
    monkeypatch.setenv('LOCAL_RANK', '0')
    config = write_tiny_config(tmp_path, voc_root)
    runs = iter(range(99))

    def call(work, *arguments):
        name = f'experiment_name=faults_{os.getpid()}_{next(runs)}_{tmp_path.name}'
        options = ['--cfg-options', name, 'train_dataloader.num_workers=1']
        line = [str(config), '--work-dir', str(work), *arguments, *options]
        monkeypatch.setattr(sys, 'argv', ['train.py', *line])
        capfd.readouterr()
        try:
            run_tool(train.main)
        except SystemExit as stop:
            assert stop.code == 1
            return capfd.readouterr().err.strip().splitlines()
        return []

    with one_thread(monkeypatch):
        yield call


def in_epoch_2(monkeypatch, fault):
    """Call ``fault`` with an image's path before the image is read in epoch 2."""
    transform = LoadImage.transform

    def wrapped(self, results):
        if getattr(results.get('sample_idx'), 'epoch', 0) == 1:
            fault(results['img_path'])
        return transform(self, results)

    monkeypatch.setattr(LoadImage, 'transform', wrapped)


def worker_killed(monkeypatch, work, voc_root):
    def kill(path):
        if get_worker_info() is not None and LOST in path:
            os.kill(os.getpid(), signal.SIGKILL)

    in_epoch_2(monkeypatch, kill)
    return r'ProcessError: DataLoader worker (pid'


def image_vanished(monkeypatch, work, voc_root):
    path = voc_root / f'JPEGImages/{LOST}.jpg'

    def vanish(_):
        if path.exists():
            path.rename(path.with_suffix('.gone'))

    in_epoch_2(monkeypatch, vanish)
    return f'DataError: image not found: {path}; restore it or take it off the split'


def diverged(monkeypatch, work, voc_root):
    loss, calls = ACRClassifier.loss, []

    def break_sixth(self, *args):
        calls.append(1)
        losses = loss(self, *args)
        if len(calls) == 6:
            losses['loss_cls'] = losses['loss_cls'] * torch.nan
        return losses

    monkeypatch.setattr(ACRClassifier, 'loss', break_sixth)
    return 'TrainingError: the loss is not finite behind iteration 6 (loss nan, '


def failing_epoch_2(monkeypatch, work, code):
    run_epoch = ResumableEpochLoop.run_epoch

    def on_bad_disk(self):
        if self.epoch == 0:
            return run_epoch(self)
        with failing_disk(work, at=0, code=code):
            return run_epoch(self)

    monkeypatch.setattr(ResumableEpochLoop, 'run_epoch', on_bad_disk)
    return f'ArtefactError: cannot write {work}'


def disk_full(monkeypatch, work, voc_root):
    return failing_epoch_2(monkeypatch, work, errno.ENOSPC)


def disk_read_only(monkeypatch, work, voc_root):
    return failing_epoch_2(monkeypatch, work, errno.EROFS)


def trained(work):
    checkpoint = read_checkpoint(work / LAST)
    momentum = checkpoint['optimizer']['state']
    return checkpoint['state_dict'], {
        k: v['momentum_buffer'] for k, v in momentum.items()
    }


@pytest.fixture
def straight(call, tmp_path):
    assert call(tmp_path / 'straight') == []
    return trained(tmp_path / 'straight')


FAULTS = [worker_killed, image_vanished, diverged, disk_full, disk_read_only]


def test_each_fault_is_one_line_and_costs_nothing_finished(
    call, straight, tmp_path, voc_root, monkeypatch
):
    for fault in FAULTS:
        work = tmp_path / fault.__name__
        with monkeypatch.context() as patch:
            expected = fault(patch, work, voc_root)
            lines = call(work)
        errors = [line for line in lines if 'Error' in line]
        assert len(errors) == 1 and errors[0].startswith(expected), (fault, lines)
        assert 'Traceback' not in '\n'.join(lines), (fault, lines)
        assert find_resumable(work) == work / FIRST
        assert read_checkpoint(work / FIRST)['meta']['iter'] == 4
        gone = voc_root / f'JPEGImages/{LOST}.gone'
        if gone.exists():
            gone.rename(gone.with_suffix('.jpg'))
        assert call(work, '--resume') == []
        for found, wanted in zip(trained(work), straight):
            assert found.keys() == wanted.keys()
            assert all(torch.equal(found[key], wanted[key]) for key in wanted), fault
