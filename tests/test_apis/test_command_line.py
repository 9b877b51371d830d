"""The command mmwsss: which tools there are, and how it runs them."""

import sys

import pytest
from tiny_run import ROOT

from mmwsss import __version__
from mmwsss.apis import command_line
from mmwsss.apis.command_line import main, tool_names, with_config_found


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command; return its exit status, output and errors."""

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['mmwsss', *arguments])
        monkeypatch.setattr(sys, 'path', list(sys.path))
        status = 0
        try:
            main()
        except SystemExit as error:
            status = error.code or 0
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Tools of a test, one of which uses a module of its folder."""
    (tmp_path / 'more').mkdir()
    start = "if __name__ == '__main__':\n"
    (tmp_path / 'show.py').write_text(
        f'"""Show its arguments.\n\nAt length."""\n{start}    import sys\n'
        '    print(*sys.argv[1:])\n'
    )
    (tmp_path / 'more/with_part.py').write_text(
        f'"""Use a part."""\nimport own_part\n{start}    print(own_part.VALUE)\n'
    )
    (tmp_path / 'more/own_part.py').write_text('VALUE = 7\n')
    (tmp_path / 'more/failing.py').write_text(
        f'"""Fail."""\n{start}    raise SystemExit(3)\n'
    )
    monkeypatch.setattr(command_line, 'TOOLS', tmp_path)


def test_runs_a_tool_with_its_arguments(run, tools):
    assert run('show', 'a', '--b', 'c') == (0, 'a --b c\n', '')
    assert run('more/with_part') == (0, '7\n', '')
    # as options are written
    assert run('more/with-part') == (0, '7\n', '')
    assert run('more/failing')[0] == 3


def test_name_of_a_config_becomes_its_file(run, tools):
    path = ROOT / 'configs/acr/hybrid_embedded.py'
    for name in ('acr/hybrid_embedded', 'mmwsss::acr/hybrid_embedded.py'):
        assert run('show', name, '--out', name) == (0, f'{path} --out {name}\n', '')


def test_file_and_other_words_stay(tmp_path, monkeypatch):
    (tmp_path / 'acr').mkdir()
    (tmp_path / 'acr/hybrid_embedded').write_text('')
    monkeypatch.chdir(tmp_path)
    for words in ([], ['acr/hybrid_embedded'], ['data'], ['--help', 'cam/embedded']):
        assert with_config_found(words) == words


def test_overview(run, tools):
    status, out, error = run('--help')
    assert (status, error) == (0, '')
    lines = out.splitlines()
    assert lines[lines.index('tools:') + 1 :] == [
        '  show            Show its arguments.',
        '  more/failing    Fail.',
        '  more/with_part  Use a part.',
    ]
    assert run() == (0, out, '')


def test_tools_of_the_package():
    names = tool_names()
    assert {'train', 'test', 'infer', 'generate_pseudo_labels', 'run_pipeline'} < set(
        names[:10]
    )
    assert 'dataset_converters/synthetic' in names
    # parts of others are none
    parts = {'benchmarks/models', 'benchmarks/reference/__init__'}
    assert not (parts | {'analysis/stopped_runs'}) & set(names)


def test_configs_and_version(run):
    status, out, _ = run('configs')
    assert status == 0
    assert 'acr/vit_hybrid_voc' in out.splitlines()
    assert run('--version') == (0, f'{__version__}\n', '')


def test_tool_that_does_not_exist(run):
    status, out, error = run('trian', 'x')
    assert (status, out) == (1, '')
    assert error == (
        "ConfigError: no tool 'trian', did you mean 'train'? \"mmwsss --help\" lists "
        'them\n'
    )
