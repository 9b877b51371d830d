"""``train.py --profile``: its page, in a real run and against a clock of its own."""

import importlib.util
import os
import sys
import time

import pytest
import torch
from tiny_run import ROOT, without_slow_logging, write_tiny_config
from torch.utils.data import DataLoader

from mmwsss.apis.launch import run_tool
from mmwsss.apis.profiling import page_of


def shares(page):
    """Milliseconds and percent of each part of a step."""
    lines = [line for line in page.splitlines() if line.startswith('| ')][2:]
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    return {name: (float(ms), float(part[:-1])) for name, ms, part in cells}


class Slow:
    """Numbers that take 20 ms each to load."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        time.sleep(0.02)
        return index


def test_shares_are_those_of_a_clock():
    pages, waits = [], []
    profile = torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU],
        schedule=torch.profiler.schedule(wait=1, warmup=1, active=3, repeat=1),
        on_trace_ready=lambda found: pages.append(page_of(found)),
    )
    with profile:
        start = time.perf_counter()
        for _ in DataLoader(Slow(), batch_size=1):
            waits.append(time.perf_counter() - start)
            time.sleep(0.03)
            torch.ones(10).exp()
            profile.step()
            start = time.perf_counter()
    (page,) = pages
    assert page.startswith('# Profile of 3 training steps\n')
    assert 'aten::exp' in page and 'Self CPU' in page
    found = shares(page)
    whole, waiting, rest = found.values()
    # the clock runs a little longer than what it times
    assert 20 <= waiting[0] <= 1000 * sum(waits[2:5]) / 3
    assert rest[0] >= 30
    assert whole[0] == pytest.approx(waiting[0] + rest[0], abs=0.02)
    assert waiting[1] == pytest.approx(100 * waiting[0] / whole[0], abs=0.1)
    assert waiting[1] + rest[1] == pytest.approx(100, abs=0.11)


@pytest.fixture
def train(tmp_path, voc_root, monkeypatch):
    """Call the tool's main on the tiny config."""
    without_slow_logging(monkeypatch)
    monkeypatch.setenv('LOCAL_RANK', '0')
    spec = importlib.util.spec_from_file_location('train', ROOT / 'tools/train.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    def train(*arguments):
        config = write_tiny_config(tmp_path, voc_root)
        name = f'experiment_name=profile_{os.getpid()}_{tmp_path.name}'
        line = ['train.py', str(config), '--work-dir', str(tmp_path / 'work')]
        options = ['--cfg-options', name, 'train_cfg.max_epochs=1']
        options += ['train_dataloader.batch_size=1']
        monkeypatch.setattr(sys, 'argv', [*line, *arguments, *options])
        run_tool(tool.main)
        return tmp_path / 'work'

    return train


def test_a_training_writes_its_page_and_goes_on(train):
    work = train('--profile', '2')
    page = (work / 'profile.md').read_text('utf-8')
    assert page.startswith('# Profile of 2 training steps\n')
    assert 'Optimizer.step' in page and 'aten::' in page
    whole, waiting, _ = shares(page).values()
    assert 0 < waiting[0] < whole[0]
    assert (work / 'epoch_1.pth').is_file()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--profile', '0'], 'ConfigError: --profile 0: expected 1 step or more'),
        # eight images, one at a time
        (['--profile', '6'], 'ConfigError: --profile 6 takes 9 steps, 3 of them to'),
    ],
)
def test_number_of_steps_is_checked(train, capfd, arguments, message):
    with pytest.raises(SystemExit):
        train(*arguments)
    assert message in capfd.readouterr().err
