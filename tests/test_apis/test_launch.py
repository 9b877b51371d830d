import os
import stat
import sys

import pytest
import torch
from mmengine.config import Config
from tiny_run import ROOT

from mmwsss.apis import launch
from mmwsss.utils.errors import ConfigError, DataError
from mmwsss.utils.progress import track


def config_of(**settings):
    return Config(dict(launcher='pytorch', **settings))


def test_config_by_file_and_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {'model.alpha': 3}
    file = launch.config_with(ROOT / 'configs/acr/vit_hybrid_voc.py', options)
    for name in ('acr/vit_hybrid_voc', 'mmwsss::acr/vit_hybrid_voc.py'):
        assert launch.config_with(name, options).to_dict() == file.to_dict()
    assert file.model.alpha == 3
    with pytest.raises(ConfigError, match='acr/vit_hybrid_vox.*as acr/vit_hybrid_voc'):
        launch.config_with('acr/vit_hybrid_vox', {})
    # files of the user go before those of the package
    (tmp_path / 'acr').mkdir()
    (tmp_path / 'acr/vit_hybrid_voc').with_suffix('.py').write_text('own = 1\n')
    assert launch.config_with('acr/vit_hybrid_voc.py', {}).own == 1


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
    ('settings', 'red'),
    [
        ({}, False),
        ({'FORCE_COLOR': '1'}, True),
        ({'FORCE_COLOR': '1', 'NO_COLOR': '1'}, False),
        ({'FORCE_COLOR': '1', 'TERM': 'dumb'}, False),
    ],
)
def test_errors_are_red_where_there_are_colours(capsys, monkeypatch, settings, red):
    for name in ('FORCE_COLOR', 'NO_COLOR', 'COLORTERM', 'TTY_COMPATIBLE'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('TERM', 'xterm')
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    text = output_of(DataError(f'[bold]{"wide " * 40}:x:'), capsys)
    kind = '\x1b[31mDataError:\x1b[0m' if red else 'DataError:'
    # in one line, as written: nothing is wrapped, marked up or replaced
    assert text == f'{kind} [bold]{"wide " * 40}:x:\n'


def test_error_on_a_terminal_stands_below_the_bar(capsys, monkeypatch):
    for name in ('FORCE_COLOR', 'NO_COLOR', 'TTY_COMPATIBLE', 'TTY_INTERACTIVE'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)

    def main():
        for item in track(range(3), 'Images'):
            if item == 2:
                raise DataError('c.jpg cannot be read')

    with pytest.raises(SystemExit):
        launch.run_tool(main)
    out, shown = capsys.readouterr()
    end = shown.rpartition('Images')[2]
    assert out == '' and shown.count('\x1b[?25l') == 1
    # the cursor comes back, then the error
    assert end.index('2/3') < end.index('\x1b[?25h') < end.index('\x1b[31mDataError')
    assert end.endswith(' c.jpg cannot be read\n')


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
