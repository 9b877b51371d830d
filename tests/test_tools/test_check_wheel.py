"""The check of a built wheel: its steps, and what it says of one that fails."""

import importlib.util
import sys
from pathlib import Path

import pytest
from tiny_run import ROOT


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'tools/analysis')
    path = ROOT / 'tools/analysis/check_wheel.py'
    spec = importlib.util.spec_from_file_location('check_wheel', path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name], sys.modules['run_docs']


def test_step_that_fails_shows_the_end_of_its_output(tool, tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', '/of/a/checkout')
    code = (
        'import os; print(os.getenv("PYTHONPATH"), os.getcwd()); raise SystemExit({})'
    )
    step = tool.Step('fine', [sys.executable, '-c', code.format(0)], tmp_path)
    assert tool.run_step(step, tmp_path / 'log') >= 0
    assert (tmp_path / 'log').read_text().splitlines()[-1] == f'None {tmp_path}'
    step = tool.Step('broken', [sys.executable, '-c', code.format(3)], tmp_path)
    with pytest.raises(
        tool.StepError, match=rf'broken: exit code 3\n(.|\n)*{tmp_path}'
    ):
        tool.run_step(step, tmp_path / 'log')


def test_steps_use_the_wheel_alone(tool, tmp_path):
    venv = tmp_path / 'venv'
    *_, install = tool.install_steps(tmp_path, venv)
    assert install.command[-1].startswith('mmwsss[onedl] @ file:///')
    assert str(tool.CONSTRAINTS) in install.command
    steps = tool.use_steps(venv, tmp_path / 'elsewhere')
    printed = [step for step in steps if step.command[0] == 'bash']
    assert printed
    for step in steps:
        assert step in printed or Path(step.command[0]).parent == venv / 'bin'
        assert step.folder == tmp_path / 'elsewhere'
        assert not any(str(ROOT) in part for part in step.command)


def test_what_is_printed_runs_as_it_stands(tool, tmp_path):
    venv, folder = tmp_path / 'a venv', tmp_path / 'elsewhere'
    folder.mkdir()
    (venv / 'bin').mkdir(parents=True)
    (venv / 'bin/activate').write_text(f'PATH="{venv}/bin:$PATH"\n')
    note = f'printf "%s " "$@" >> "{tmp_path}/calls"; echo >> "{tmp_path}/calls"'
    (venv / 'bin/mmwsss').write_text(f'#!/bin/bash\n{note}\n')
    (venv / 'bin/mmwsss').chmod(0o755)
    blocks = tool.printed_blocks()
    for block in blocks:
        tool.run_step(tool.printed_step(block, venv, folder), tmp_path / 'log')
    calls = (tmp_path / 'calls').read_text().splitlines()
    commands = [command for block in blocks for command in block.commands()]
    assert [f'mmwsss {call.strip()}' for call in calls] == commands
    (readme,) = {block.page for block in blocks}
    assert readme == 'README.md' and any(call.startswith('train ') for call in calls)


def test_folder_in_use_is_refused(tool, tmp_path, monkeypatch):
    (tmp_path / 'something').write_text('')
    monkeypatch.setattr(sys, 'argv', ['check_wheel.py', '--out', str(tmp_path)])
    with pytest.raises(SystemExit, match=f'{tmp_path} is not empty; choose another'):
        tool.main()
    assert [path.name for path in tmp_path.iterdir()] == ['something']
