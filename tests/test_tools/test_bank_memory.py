"""What a bank takes: buffers by arithmetic, the rise above them by its parts."""

import importlib.util
import mmap
import sys
from pathlib import Path

import pytest

from mmwsss.utils.errors import ConfigError

ROOT = Path(__file__).parents[2]
MEBIBYTE = 1 << 20


@pytest.fixture(scope='module')
def tool():
    path = ROOT / 'tools/analysis/bank_memory.py'
    spec = importlib.util.spec_from_file_location('bank_memory', path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        yield module


def test_buffers_are_slots_pointers_and_counts(tool):
    bank = tool.filled_bank(3, 20, 8)
    assert tool.buffer_bytes(bank) == 3 * 20 * 8 * 4 + 2 * 3 * 8
    assert bool(bank.valid.all())


def test_each_work_runs_on_a_filled_bank(tool):
    bank = tool.filled_bank(3, 20, 8)
    assert tool.contrast(bank).abs().sum() > 0
    assert tool.prototypes(bank).shape == (3, tool.PROTOTYPES, 8)


def test_rise_counts_what_a_work_allocates(tool, monkeypatch):
    held = []

    def take(bank):
        # new pages, not the heap's, which the process may have had before
        held.append(mmap.mmap(-1, 32 * MEBIBYTE))
        held[-1].write(bytes(32 * MEBIBYTE))

    monkeypatch.setitem(tool.WORKS, 'contrast', take)
    taken = tool.rise('contrast', (2, 20, 8), 'cpu') / MEBIBYTE
    assert 30 < taken < 40


def test_table_and_refusal(tool, monkeypatch):
    rows = [dict(slots=1000, buffers=39.06, contrast=1.25, prototypes=2.0)]
    assert tool.table(rows).splitlines()[-1] == '| 1,000 | 39.1 | 1.2 | 2.0 |'
    monkeypatch.setattr(sys, 'argv', ['bank_memory.py', '--slots', '5'])
    with pytest.raises(ConfigError, match='--slots: 10 or more, got 5'):
        tool.main()
