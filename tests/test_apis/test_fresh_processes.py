"""The same seed gives the same bytes in another process, with or without a flag."""

import json
import os
import subprocess
import sys

import pytest
import torch
from fresh_run import DIGESTS, make_both
from pseudo_label_run import one_thread
from recorded_run import assert_equal_states, run
from tiny_rca import write_rca_config
from tiny_run import ROOT, tiny_config, without_slow_logging


def test_fresh_processes_make_the_same_bytes(tmp_path, voc_root):
    """Another order of hashes, another folder; weights, seeds, maps and labels."""
    here = make_both(tmp_path / 'here', voc_root)
    command = [str(ROOT / 'tests/fresh_run.py'), str(tmp_path / 'there'), str(voc_root)]
    other = '1' if os.environ.get('PYTHONHASHSEED') == '0' else '0'
    result = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONHASHSEED': other, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    there = json.loads((tmp_path / 'there' / DIGESTS).read_text())
    assert there == here
    assert set(here['rca']) - set(here['acr']) == {
        name for name in here['rca'] if name.startswith('accumulated/')
    }
    assert sum(name.endswith('.png') for name in here['rca']) == 8


@pytest.fixture
def deterministic_algorithms_off():
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


@pytest.mark.parametrize('method', ['acr', 'rca'])
def test_deterministic_algorithms_change_nothing_on_a_cpu(
    method, tmp_path, voc_root, monkeypatch, deterministic_algorithms_off
):
    without_slow_logging(monkeypatch)

    def train(name, **options):
        if method == 'rca':
            return run(write_rca_config(tmp_path, voc_root)(name, **options))
        config = tiny_config(tmp_path, voc_root, **options)
        config.work_dir = str(tmp_path / name)
        return run(config)

    with one_thread(monkeypatch):
        plain, expected = train('plain')
        assert not torch.are_deterministic_algorithms_enabled()
        strict, found = train('strict', randomness__deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()
    assert found == expected
    assert_equal_states(strict, plain)
