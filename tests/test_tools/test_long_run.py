"""The study of long runs: its arithmetic, what it meters, and a tiny run."""

import json
import mmap
import os
import sys

import numpy as np
import pytest
from tiny_run import ROOT, without_slow_logging

FOLDER = ROOT / 'tools/analysis'
sys.path.insert(0, str(FOLDER))
import long_run  # noqa: E402

sys.path.remove(str(FOLDER))


def test_slope_and_errors_are_those_of_numpy():
    values = np.random.default_rng(0).normal(5, 2, 401) + 0.01 * np.arange(401)
    found = long_run.growth(values.tolist())
    half = values[200:]
    steps = np.arange(len(half))
    (slope, _), covariance = np.polyfit(steps, half, 1, cov='unscaled')
    rest = half - np.polyval(np.polyfit(steps, half, 1), steps)
    spread = np.sqrt((rest**2).sum() / (len(half) - 2))
    assert found['mean'] == pytest.approx(half.mean())
    assert found['slope'] == pytest.approx(slope)
    assert found['spread'] == pytest.approx(spread)
    assert found['error'] == pytest.approx(spread * np.sqrt(covariance[0, 0]))


def test_what_grows():
    random = np.random.default_rng(1)
    noise = random.normal(0, 1, 2000)
    steps = np.arange(2000)
    grows = lambda values: long_run.growth(list(values))['grows']
    assert grows(steps)  # a line, without any spread
    assert grows(0.01 * steps + noise)
    assert not grows(np.full(2000, 7.0))
    assert not grows(noise)
    assert not grows(-0.01 * steps + noise)
    # a rise in the first half alone, as caches fill
    assert not grows(np.minimum(steps, 900) + noise)


@pytest.fixture
def files():
    kept = []
    yield kept
    for file in kept:
        os.close(file)


def test_meter_sees_what_is_kept(files):
    meter, kept = long_run.Meter(200), []
    for _ in range(210):  # ten find no room
        kept.append(np.ones(2**17))  # a megabyte of malloc's
        kept.append(mmap.mmap(-1, 2**20))  # and one of new pages
        kept[-1].write(bytes(2**20))
        files.append(os.open(os.devnull, os.O_RDONLY))
        meter.note()
    report = meter.report()
    assert report['steps'] == 200
    assert report['kept']['slope'] == pytest.approx(2**20, rel=0.05)
    # malloc's may come from pages that the process has had before
    assert 0.95 < report['memory']['slope'] / 2**20 < 2.1
    assert report['files']['slope'] == pytest.approx(1, abs=0.05)
    assert report['kept']['grows'] and report['files']['grows']
    found = long_run.growing(dict(part=report), allowed=1000)
    assert found == ['kept of part', 'files of part']
    assert long_run.growing(dict(part=report), allowed=2**21) == ['files of part']


def test_time_between_steps_is_left_out():
    meter = long_run.Meter(1)
    sum(range(3_000_000))
    meter.restart()
    meter.note()
    assert meter.notes[0, long_run.QUANTITIES.index('seconds')] < 0.01


ITERATIONS, RECORDS = 43, 70


def test_a_tiny_run(tmp_path, monkeypatch, capsys):
    without_slow_logging(monkeypatch)
    monkeypatch.setattr(long_run, 'apart', lambda action, *args: action(*args))
    monkeypatch.setattr(long_run, 'BETWEEN', 1)
    monkeypatch.setenv('COLUMNS', '200')
    figures = tmp_path / 'figures.json'
    arguments = ['--iterations', str(ITERATIONS), '--records', str(RECORDS)]
    # a few steps still fill caches
    arguments += ['--allow', '1e9', '--json', str(figures), '--folder', str(tmp_path)]
    monkeypatch.setattr(sys, 'argv', ['long_run.py', *arguments])
    with pytest.raises(SystemExit) as stop:
        long_run.main()
    report = json.loads(figures.read_text())
    printed = capsys.readouterr().out
    steps = {name: found['steps'] for name, found in report.items()}
    assert steps == {
        'training, ACR': ITERATIONS,
        'training, RCA': ITERATIONS,
        'writing seeds': RECORDS,
        'measuring seeds': RECORDS,
    }
    found = long_run.growing(report, allowed=1e9)
    assert stop.value.code == bool(found)
    assert printed.endswith('grows: ' + (', '.join(found) or 'nothing') + '\n')
    for name in steps:
        assert name.split(', ')[-1] in printed
        assert report[name]['memory']['mean'] > report[name]['kept']['mean'] > 2**20
        assert report[name]['seconds']['mean'] > 0
    assert [path.name for path in tmp_path.iterdir()] == ['figures.json']
