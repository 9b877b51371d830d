import os
import stat

import pytest
import torch
from mmengine.config import Config

from mmwsss.apis import launch
from mmwsss.utils.errors import ConfigError, DataError


def config_of(**settings):
    return Config(dict(launcher='pytorch', **settings))


def output_of(error, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as stop:
        launch.run_tool(main)
    assert stop.value.code == 1
    return capsys.readouterr().err


def test_errors_of_several_lines_become_one(capsys):
    text = output_of(DataError('a.jpg cannot\n  be read;\nfetch it again'), capsys)
    assert text == 'DataError: a.jpg cannot be read; fetch it again\n'


def test_last_error_of_a_worker_counts(capsys):
    lines = [
        'Caught DataError in DataLoader worker process 0.',
        'Original Traceback (most recent call last):',
        'OSError: truncated',
        'The above exception was the direct cause of the following exception:',
        'mmwsss.utils.errors.DataError: a.jpg cannot be read (OSError: truncated',
        'file); fetch it again',
    ]
    expected = 'DataError: a.jpg cannot be read (OSError: truncated file); fetch it'
    assert output_of(DataError('\n'.join(lines)), capsys) == f'{expected} again\n'


@pytest.mark.parametrize(
    'error', [TypeError('unsupported operand'), KeyError('x'), ZeroDivisionError()]
)
def test_faults_of_the_program_keep_their_traceback(error):
    def main():
        raise error

    with pytest.raises(type(error)):
        launch.run_tool(main)


CONFIG = dict(
    model=dict(type='A', parts=[dict(type='B', size=1)], view=None, table=dict(a=1)),
    default_hooks=dict(logger=dict(type='L')),
    env_cfg=dict(mp_cfg=dict(start='fork')),
    randomness=dict(seed=0),
    val_cfg={},
)


@pytest.mark.parametrize(
    'option',
    [
        'model.parts.0.size',
        'model.parts.0.colour',
        'model.table.b',
        'model.view.type',
        'env_cfg.mp_cfg.start',
        'randomness.deterministic',
        'val_cfg.fp16',
        'load_from',
        'resume',
    ],
)
def test_options_that_reach_something(option):
    launch.check_options(Config(CONFIG), {option: 1})


@pytest.mark.parametrize(
    ('option', 'hint'),
    [
        ('modle.type', "did you mean 'model'"),
        ('default_hooks.loger', "did you mean 'logger'"),
        ('env_cfg.mp_cfg.strat', "did you mean 'start'"),
        ('model.parts.1.size', "no '1' there"),
        ('model.parts.size', "no 'size' there"),
        ('randomness.seed.more', 'a plain value'),
        ('env_cfg.load_from', "no 'load_from' there"),
    ],
)
def test_options_that_reach_nothing(option, hint):
    with pytest.raises(ConfigError, match=hint):
        launch.check_options(Config(CONFIG), {option: 1})


@pytest.fixture
def gloo(monkeypatch):
    calls = []
    group = lambda backend: calls.append(backend)
    monkeypatch.setattr(torch.distributed, 'init_process_group', group)
    monkeypatch.setattr(torch, 'set_num_threads', calls.append)
    return calls


@pytest.mark.parametrize('unused', [None, True])
def test_wrapper_without_cuda(gloo, unused):
    config = config_of(**({} if unused is None else {'find_unused_parameters': unused}))
    launch.use_gloo(config)
    # Threads are left to OMP_NUM_THREADS: their number changes how sums round.
    assert gloo == ['gloo']
    assert config.model_wrapper_cfg.to_dict() == dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=bool(unused),
    )


@pytest.mark.parametrize('kind', [None, 'OptimWrapper', 'Bf16OptimWrapper'])
def test_bf16(kind):
    wrapper = {} if kind is None else {'type': kind}
    config = Config(dict(optim_wrapper=wrapper))
    launch.use_bf16(config)
    assert config.optim_wrapper.type == 'mmwsss.Bf16OptimWrapper'


def test_writable_folder_is_made_and_left_empty(tmp_path):
    folder = tmp_path / 'a/b'
    launch.check_writable(str(folder))
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write anywhere')
def test_folder_without_permission(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(ConfigError, match='Permission denied.*--work-dir'):
        launch.check_writable(str(tmp_path))
