"""Runs of the chain that fail, are killed, or meet."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from cheap_chain import Chain

from mmwsss.apis import pipeline as module
from mmwsss.apis.pipeline import StageError
from mmwsss.utils.errors import ArtefactError


@pytest.fixture
def chain(tmp_path):
    return Chain(tmp_path)


def test_a_failing_tool_shows_the_end_of_its_log(chain):
    chain.faults['two'] = 'fails'
    (chain.folder / 'fails').touch()
    with pytest.raises(StageError, match='stage two failed with exit code 1') as caught:
        chain.run()
    error = caught.value
    assert f'{chain.folder}/logs/two.log' in str(error)
    assert 'the same command to go on' in str(error)
    lines = error.log_end.splitlines()
    assert lines[-1] == 'the fault: no more paper'
    assert lines[0] == 'line 26'
    assert len(lines) == module.SHOWN_LOG_LINES
    assert chain.record('one').exists()
    assert not chain.record('two').exists()
    (chain.folder / 'fails').unlink()
    assert chain.run() == ['two', 'three']
    assert 'line 26' in (chain.folder / 'logs/two.log').read_text()


def test_a_log_that_is_no_text_is_shown_too(chain):
    chain.script.write_text("import os, sys; os.write(1, b'\\xff torn'); sys.exit(3)")
    with pytest.raises(StageError, match='exit code 3') as caught:
        chain.run()
    assert caught.value.log_end == '� torn'


DRIVER = """
import sys
sys.path[:0] = [{here!r}]
from pathlib import Path
from cheap_chain import Chain
chain = Chain(Path({folder!r}))
chain.faults['two'] = 'slow'
chain.run()
"""


@pytest.fixture
def slow_run(chain):
    """A run of its own that hangs in stage two, as a process group."""
    (chain.folder / 'slow').touch()
    text = DRIVER.format(here=str(Path(__file__).parent), folder=str(chain.folder))
    path = os.pathsep.join([str(module.REPOSITORY), os.environ.get('PYTHONPATH', '')])
    process = subprocess.Popen(
        [sys.executable, '-c', text],
        start_new_session=True,
        env=os.environ | {'PYTHONPATH': path},
    )
    half = chain.folder / 'two/half'
    end = time.monotonic() + 60
    while not half.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    assert half.exists()
    (chain.folder / 'slow').unlink()
    chain.faults['two'] = 'slow'
    yield process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_killed_run_goes_on_where_it_was(chain, slow_run):
    os.killpg(slow_run.pid, signal.SIGKILL)
    assert slow_run.wait() == -signal.SIGKILL
    wait_for_the_lock(chain)
    assert chain.record('one').exists()
    assert chain.planned() == ['two', 'three']
    assert chain.run() == ['two', 'three']
    assert chain.made('three') == 'onetwothree'


def test_two_runs_do_not_meet(chain, slow_run):
    with pytest.raises(ArtefactError, match='another run is at work'):
        chain.run()
    assert slow_run.poll() is None


def test_a_tool_left_by_a_killed_run_keeps_others_out(chain, slow_run):
    slow_run.kill()
    slow_run.wait()
    with pytest.raises(ArtefactError, match='tool that a killed run left behind'):
        chain.run(first='one')
    assert chain.made('one') == 'one'
    os.killpg(slow_run.pid, signal.SIGKILL)
    wait_for_the_lock(chain)
    assert chain.run() == ['two', 'three']


def wait_for_the_lock(chain):
    """Wait until the killed tool is gone."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            with chain.pipeline()._alone():
                return
        except ArtefactError:
            time.sleep(0.01)
