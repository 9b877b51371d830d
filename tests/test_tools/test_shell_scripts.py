"""Shell scripts in a sandbox where python, uv and srun only note their arguments."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [*sorted((ROOT / 'tools').rglob('*.sh')), ROOT / '.ci' / 'run']
VERSION = '{}.{}'.format(*sys.version_info)


def write_script(path, body):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/usr/bin/env bash\n{body}\n', 'utf-8')
    path.chmod(0o755)
    return path


@pytest.fixture
def sandbox(tmp_path):
    """Copy what the scripts read; return a function that runs one of them."""
    root = tmp_path / 'a repository'
    for name in ['setup.py', 'requirements', 'tools', 'mmwsss/version.py']:
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, target)
    note = tmp_path / 'calls'
    log = f'printf "%s\\n" "$*" >>"{note}"'
    fakes = tmp_path / 'fakes'
    write_script(fakes / 'srun', log)
    write_script(
        fakes / 'uv',
        f"""{log}
if [[ $1 == venv ]]; then
  mkdir -p .venv/bin && cp "{fakes}/python_venv" .venv/bin/python
elif [[ $1 == pip ]]; then
  exit "${{UV_STATUS:-0}}"
fi""",
    )
    write_script(
        fakes / 'python_venv',
        '[[ $2 == "import cv2" ]] && exit "${CV2_STATUS:-0}"\n'
        '[[ $2 == *pydensecrf* ]] && exit "${CRF_STATUS:-0}"\n'
        f'exec "{sys.executable}" "$@"',
    )
    write_script(fakes / 'python_note', f'printf "%s\\n" "$@" >"{note}"')
    write_script(
        fakes / 'python_old',
        f'[[ $2 == *version_info* ]] && echo 3.9 || exec "{sys.executable}" "$@"',
    )

    def run(script, *arguments, cwd=root, **environment):
        note.write_text('', 'utf-8')
        keep = {name: os.environ[name] for name in ['HOME'] if name in os.environ}
        path = f'{fakes}:{Path(sys.executable).parent}:/usr/bin:/bin'
        result = subprocess.run(
            ['bash', str(root / script), *arguments],
            cwd=cwd,
            env={**keep, 'PATH': path, **environment},
            capture_output=True,
            text=True,
        )
        result.calls = note.read_text('utf-8').splitlines()
        return result

    run.root = root
    run.fakes = fakes
    return run


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.name)
def test_script_parses(script):
    result = subprocess.run(['bash', '-n', script], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, '')


# ---------------------------------------------------------------- setup_env.sh


def installs(result):
    return [call for call in result.calls if call.startswith('pip install')]


def test_setup_installs_once(sandbox):
    first = sandbox('tools/setup_env.sh')
    assert first.returncode == 0, first.stderr
    (install,) = installs(first)
    assert '-c requirements/constraints.txt' in install
    assert install.endswith('torch torchvision -e .[onedl,dev]')
    assert not (sandbox.root / '.venv/.mmwsss-unfinished').exists()

    second = sandbox('tools/setup_env.sh')
    assert (second.returncode, second.calls, second.stderr) == (0, [], '')


def test_setup_takes_headless_opencv_where_the_other_does_not_load(sandbox):
    _, replacement = installs(sandbox('tools/setup_env.sh', CV2_STATUS='1'))
    constraints = (ROOT / 'requirements/constraints.txt').read_text('utf-8')
    requirement = replacement.split()[-1]
    assert requirement.startswith('opencv-python-headless==')
    assert requirement.replace('-headless', '') in constraints.splitlines()


def test_setup_compiles_the_crf_where_asked_for(sandbox):
    assert len(installs(sandbox('tools/setup_env.sh', CRF_STATUS='1'))) == 1
    asked = sandbox('tools/setup_env.sh', 'crf', CRF_STATUS='1')
    (install,) = installs(asked)
    assert install.endswith('-c requirements/constraints.txt -r requirements/crf.txt')
    assert installs(sandbox('tools/setup_env.sh', 'crf')) == []
    refused = sandbox('tools/setup_env.sh', 'crf', CRF_STATUS='1', UV_STATUS='1')
    assert refused.returncode == 0
    assert 'pydensecrf2 cannot be compiled here' in refused.stderr


def test_setup_follows_changed_requirements(sandbox):
    sandbox('tools/setup_env.sh')
    with open(sandbox.root / 'requirements/runtime.txt', 'a') as file:
        file.write('more\n')
    again = sandbox('tools/setup_env.sh')
    assert len(installs(again)) == 1
    # the environment is kept, only its content is brought up to date
    assert not [call for call in again.calls if call.startswith('venv')]


def test_setup_follows_a_moved_repository(sandbox, tmp_path):
    sandbox('tools/setup_env.sh')
    moved = tmp_path / 'moved'
    shutil.copytree(sandbox.root, moved, symlinks=True)
    assert len(installs(sandbox(moved / 'tools/setup_env.sh'))) == 1


def test_interrupted_setup_starts_anew(sandbox):
    broken = sandbox('tools/setup_env.sh', UV_STATUS='1')
    assert broken.returncode == 1
    assert 'the installation failed' in broken.stderr
    assert not (sandbox.root / '.venv/.mmwsss-stamp').exists()
    leftover = sandbox.root / '.venv/torn'
    leftover.touch()

    again = sandbox('tools/setup_env.sh')
    assert again.returncode == 0
    assert len(installs(again)) == 1
    assert not leftover.exists()


def test_refused_update_keeps_the_environment(sandbox):
    sandbox('tools/setup_env.sh')
    (sandbox.root / 'requirements/runtime.txt').write_text('absent\n', 'utf-8')
    assert sandbox('tools/setup_env.sh', UV_STATUS='1').returncode == 1
    again = sandbox('tools/setup_env.sh')
    assert again.returncode == 0
    assert [call.split()[0] for call in again.calls if 'version' not in call] == ['pip']


def test_broken_interpreter_is_replaced(sandbox):
    sandbox('tools/setup_env.sh')
    python = sandbox.root / '.venv/bin/python'
    python.unlink()
    assert len(installs(sandbox('tools/setup_env.sh'))) == 1
    assert python.exists()


def test_setup_takes_the_interpreter_of_the_user(sandbox):
    result = sandbox('tools/setup_env.sh', PYTHON=sys.executable)
    assert result.returncode == 0
    assert f'Python {VERSION}' in result.stderr


@pytest.mark.parametrize(
    ('python', 'complaint'),
    [
        ('python_old', 'is Python 3.9; mmwsss needs one of: 3.10 3.11 3.12'),
        ('python_absent', 'PYTHON=python_absent does not start'),
    ],
)
def test_setup_refuses_interpreter(sandbox, python, complaint):
    result = sandbox('tools/setup_env.sh', PYTHON=python)
    assert result.returncode == 1
    assert complaint in result.stderr
    assert not (sandbox.root / '.venv').exists()


def test_setup_says_when_no_interpreter_fits(sandbox):
    for name in ['python3', 'python3.10', 'python3.11', 'python3.12', 'python']:
        (sandbox.fakes / name).symlink_to(sandbox.fakes / 'python_old')
    result = sandbox('tools/setup_env.sh')
    assert result.returncode == 1
    assert 'no Python of 3.10 3.11 3.12 on PATH (python3 is 3.9)' in result.stderr
    assert 'PYTHON=python3.11 bash tools/setup_env.sh' in result.stderr


# ---------------------------------------------------------------- run_tests.sh


@pytest.mark.parametrize(
    ('ruff', 'mypy', 'pytest_status', 'status'),
    [(0, 0, 0, 0), (1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 1), (1, 1, 5, 5)],
)
def test_run_tests_fails_with_any_part(sandbox, ruff, mypy, pytest_status, status):
    write_script(sandbox.root / 'tools/setup_env.sh', 'true')
    bin_folder = sandbox.root / '.venv/bin'
    write_script(bin_folder / 'ruff', f'exit {ruff}')
    write_script(bin_folder / 'mypy', f'exit {mypy}')
    body = f'echo "arguments: $*"; echo "3 passed in 1s"; exit {pytest_status}'
    write_script(bin_folder / 'python', body)
    result = sandbox('tools/run_tests.sh', '-k', 'a b')
    assert result.returncode == status
    assert result.stdout.splitlines()[-1] == '3 passed in 1s'
    assert '-k a b' in result.stdout
    assert ('FAILED: ruff check' in result.stdout) == bool(ruff)
    assert ('FAILED: mypy mmwsss' in result.stdout) == bool(mypy)


def test_run_tests_stops_without_environment(sandbox):
    write_script(sandbox.root / 'tools/setup_env.sh', 'exit 3')
    assert sandbox('tools/run_tests.sh').returncode == 3


# ------------------------------------------------------- dist_*.sh, slurm_*.sh


@pytest.fixture
def config(sandbox):
    path = sandbox.root / 'configs/a config.py'
    path.parent.mkdir()
    path.touch()
    return path


def between(calls, first, last):
    return calls[calls.index(first) + 1 : calls.index(last)]


def test_dist_train_runs_torchrun_on_any_free_port(sandbox, config, tmp_path):
    # from a foreign folder, with the config named from the repository root
    relative = str(config.relative_to(sandbox.root))
    arguments = (relative, '2', '--cfg-options', 'a=b c')
    result = sandbox(
        'tools/dist_train.sh', *arguments, cwd=tmp_path, PYTHON='python_note'
    )
    assert result.returncode == 0, result.stderr
    assert result.calls[:2] == ['-m', 'torch.distributed.run']
    script = str(sandbox.root / 'tools/train.py')
    options = between(result.calls, 'torch.distributed.run', script)
    assert options[options.index('--nproc-per-node') + 1] == '2'
    assert options[options.index('--rdzv-endpoint') + 1] == '127.0.0.1:0'
    assert result.calls[result.calls.index(script) + 1 :] == [
        str(config),
        '--cfg-options',
        'a=b c',
        '--launcher',
        'pytorch',
    ]


def test_dist_test_passes_checkpoint_before_arguments(sandbox, config):
    arguments = (str(config), 'x/a.pth', '3', '--work-dir', 'w')
    result = sandbox('tools/dist_test.sh', *arguments, PYTHON='python_note')
    script = str(sandbox.root / 'tools/test.py')
    assert result.calls[result.calls.index('--nproc-per-node') + 1] == '3'
    assert result.calls[result.calls.index(script) + 1 :][:4] == [
        str(config),
        'x/a.pth',
        '--work-dir',
        'w',
    ]


def test_several_machines_meet_at_the_master(sandbox, config):
    machines = {'NNODES': '2', 'NODE_RANK': '1', 'MASTER_ADDR': 'a1', 'PORT': '29'}
    result = sandbox(
        'tools/dist_train.sh', str(config), '4', PYTHON='python_note', **machines
    )
    script = str(sandbox.root / 'tools/train.py')
    options = between(result.calls, 'torch.distributed.run', script)
    pairs = dict(zip(options[::2], options[1::2]))
    assert pairs == {
        '--nnodes': '2',
        '--nproc-per-node': '4',
        '--node-rank': '1',
        '--master-port': '29',
        '--master-addr': 'a1',
    }


def test_launchers_prefer_the_environment_of_the_repository(sandbox, config):
    python = sandbox.root / '.venv/bin/python'
    write_script(python, 'echo from the environment')
    result = sandbox('tools/dist_train.sh', str(config), '1')
    assert result.stdout == 'from the environment\n'


@pytest.mark.parametrize(
    ('script', 'arguments', 'complaint'),
    [
        ('dist_train.sh', ['c.py'], 'usage: dist_train.sh CONFIG GPUS'),
        ('dist_test.sh', ['c.py', '2'], 'usage: dist_test.sh CONFIG CHECKPOINT GPUS'),
        ('slurm_train.sh', ['p', 'j'], 'usage: slurm_train.sh PARTITION JOB_NAME'),
        ('slurm_test.sh', ['p', 'j', 'c.py'], 'usage: slurm_test.sh PARTITION'),
        ('dist_train.sh', ['absent.py', '2'], 'no file absent.py in'),
        ('dist_train.sh', ['configs/a config.py', '0'], "got '0'"),
        ('dist_test.sh', ['configs/a config.py', '2', 'a.pth'], "got 'a.pth'"),
    ],
)
def test_launchers_refuse_wrong_arguments(
    sandbox, config, script, arguments, complaint
):
    result = sandbox(f'tools/{script}', *arguments, PYTHON='python_note')
    assert result.returncode == 2
    assert complaint in result.stderr
    assert result.calls == []


@pytest.mark.parametrize(
    ('script', 'arguments', 'tail'),
    [
        ('slurm_train.sh', ['--resume'], 'tools/train.py {config} --resume'),
        ('slurm_test.sh', ['a.pth', '--x'], 'tools/test.py {config} a.pth --x'),
    ],
)
def test_slurm_twins(sandbox, config, script, arguments, tail):
    result = sandbox(
        f'tools/{script}',
        'part',
        'job',
        str(config),
        *arguments,
        PYTHON='py',
        GPUS='16',
        SRUN_ARGS='--time 5',
    )
    (call,) = result.calls
    assert call.startswith(
        '--partition part --job-name job --gres gpu:8 --ntasks 16 --ntasks-per-node 8 '
        '--cpus-per-task 5 --kill-on-bad-exit=1 --time 5 py -u '
    )
    end = tail.format(config=config) + ' --launcher slurm'
    assert call == f'{call.partition(" py -u ")[0]} py -u {sandbox.root}/{end}'
