"""The quick start in a sandbox where the environment only notes what it is to run."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REPORT = 'tools/analysis/pipeline_report.py'
EMBEDDED = 'configs/pipelines/acr_embedded.py'
BASELINE = 'configs/pipelines/acr_embedded_no_consistency.py'


@pytest.fixture
def quickstart(tmp_path):
    """Return a function that runs the script of a repository in another folder."""
    root, note = tmp_path / 'a repository', tmp_path / 'calls'
    (root / 'tools').mkdir(parents=True)
    shutil.copy(ROOT / 'tools/quickstart.sh', root / 'tools')
    shutil.copytree(ROOT / 'configs/pipelines', root / 'configs/pipelines')
    python = root / '.venv/bin/python'
    python.parent.mkdir(parents=True)
    python.write_text(
        f'#!/usr/bin/env bash\necho "$*" >>"{note}"\n[[ $* != *"$FAILING"* ]]\n'
    )
    python.chmod(0o755)
    (root / 'tools/setup_env.sh').write_text(f'echo setup >>"{note}"\n')

    def run(*arguments, failing='nothing'):
        note.write_text('')
        result = subprocess.run(
            ['bash', str(root / 'tools/quickstart.sh'), *arguments],
            cwd=tmp_path,
            env={'PATH': os.environ['PATH'], 'FAILING': failing},
            capture_output=True,
            text=True,
        )
        result.calls = note.read_text().splitlines()
        return result

    run.root, run.folder = root, tmp_path
    return run


def pipeline(config, work_dir, seed=0):
    return (
        f'tools/run_pipeline.py {config} --work-dir {work_dir} '
        f'--cfg-options data.synthetic.seed={seed}'
    )


def test_environment_pipeline_report(quickstart):
    result = quickstart()
    work_dir = quickstart.root / 'work_dirs/quickstart'
    assert result.returncode == 0, result.stderr
    assert result.calls == [
        'setup',
        pipeline(EMBEDDED, work_dir),
        f'{REPORT} {work_dir}',
    ]
    assert f'pseudo labels: {work_dir}/labels/labels' in result.stdout


def test_arguments_are_passed_on(quickstart):
    result = quickstart('--seed', '3', '--compare', '--work-dir', 'here')
    work_dir = quickstart.folder / 'here'
    assert result.calls[1:] == [
        pipeline(EMBEDDED, work_dir, 3),
        pipeline(BASELINE, work_dir / 'compare', 3),
        f'{REPORT} {work_dir} --compare {work_dir}/compare',
    ]


@pytest.mark.parametrize('failing', ['run_pipeline', 'pipeline_report'])
def test_failure_ends_the_script(quickstart, failing):
    result = quickstart(failing=failing)
    assert result.returncode == 1
    assert failing in result.calls[-1]
    assert 'pseudo labels' not in result.stdout


@pytest.mark.parametrize(
    ('arguments', 'complaint'),
    [
        (['--wrong'], 'unknown argument --wrong'),
        (['acr'], 'unknown argument acr'),
        (['--seed'], '--seed needs a value'),
        (['--seed', '--compare'], '--seed needs a value'),
        (['--seed', '-1'], "--seed: expected a whole number, got '-1'"),
        (['--method', 'absent'], "--method: no method 'absent'"),
    ],
)
def test_wrong_arguments_are_refused(quickstart, arguments, complaint):
    result = quickstart(*arguments)
    assert result.returncode == 2
    assert f'quickstart.sh: {complaint}' in result.stderr
    assert 'usage: quickstart.sh [--work-dir DIR]' in result.stderr
    assert result.calls == []


def test_method_without_baseline_cannot_be_compared(quickstart):
    (quickstart.root / BASELINE).unlink()
    result = quickstart('--compare')
    assert (result.returncode, result.calls) == (2, [])
    assert f'--compare: there is no {BASELINE}' in result.stderr


def test_help_names_the_methods(quickstart):
    result = quickstart('--help')
    assert (result.returncode, result.calls) == (0, [])
    assert 'one of: acr rca (default: acr)' in result.stdout
