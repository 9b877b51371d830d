"""What --help says: a purpose, and commands that the tool's own parser takes."""

import argparse
import ast
import contextlib
import re
import runpy
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from mmengine.config import DictAction

from mmwsss.apis.command_line import tool_names

ROOT = Path(__file__).parents[2]
TOOLS = [f'tools/{name}.py' for name in tool_names()]
SCRIPTS = sorted({*(ROOT / 'tools').rglob('*.sh')} - {ROOT / 'tools/launch_common.sh'})
COMMAND = re.compile(r'^ *(?:python (tools/\S+\.py)|mmwsss (\S+)) *(.*)$', re.M)


class Reached(BaseException):
    """The tool reads its command line, by this parser."""


@cache
def parser_of(tool):
    """Return a tool's parser, as its main function makes it."""

    def stop(parser, _=None):
        raise Reached(parser)

    known = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, 'parse_args', stop)
        patch.setattr(sys, 'argv', [tool])
        patch.setattr(sys, 'path', [str((ROOT / tool).parent), *sys.path])
        try:
            runpy.run_path(str(ROOT / tool), run_name='__main__')
        except Reached as reached:
            return reached.args[0]
        finally:
            # tools of two folders may call what they share alike
            for name in set(sys.modules) - known:
                file = getattr(sys.modules[name], '__file__', None) or ''
                if file.startswith(str(ROOT / 'tools')):
                    del sys.modules[name]
    raise AssertionError(f'{tool} reads no command line')


def docstring_of(tool):
    return ast.get_docstring(ast.parse((ROOT / tool).read_text('utf-8'))) or ''


def commands_in(text):
    """Yield tool and arguments of each command of a docstring."""
    for found in COMMAND.finditer(re.sub(r' *\\\n *', ' ', text)):
        tool = found[1] or f'tools/{found[2]}.py'
        yield tool, shlex.split(found[3])


def refusal(parser, arguments):
    """Return what a parser says against arguments, None if it takes them."""
    said = []
    with pytest.MonkeyPatch.context() as patch:

        def refuse(parser, message):
            said.append(message)
            raise SystemExit(2)

        patch.setattr(argparse.ArgumentParser, 'error', refuse)
        with contextlib.suppress(SystemExit):
            parser.parse_args(arguments)
    return said[0] if said else None


@pytest.mark.parametrize('tool', TOOLS)
def test_help_begins_with_one_sentence(tool):
    first, *rest = docstring_of(tool).splitlines()
    assert re.fullmatch(r'[A-Z][^.]*(?:\w\.\w[^.]*)*\.', first), first
    assert rest[:1] == [''], 'more than one line: the overview shows the first'


@pytest.mark.parametrize('tool', TOOLS)
def test_help_shows_its_text_as_written(tool):
    text = parser_of(tool).format_help()
    assert docstring_of(tool) in text


@pytest.mark.parametrize('tool', TOOLS)
def test_help_has_a_command_and_all_are_taken(tool):
    commands = list(commands_in(docstring_of(tool)))
    assert tool in [name for name, _ in commands], f'no line "python {tool} ..."'
    for name, arguments in commands:
        said = refusal(parser_of(name), arguments)
        assert said is None, f'python {name} {shlex.join(arguments)}: {said}'


@pytest.mark.parametrize('tool', TOOLS)
def test_settings_that_are_none_are_refused(tool):
    parser = parser_of(tool)
    taken = [a for a in parser._actions if isinstance(a, DictAction)]
    for action in taken:
        said = refusal(parser, [action.option_strings[0], 'model'])
        assert said == f"{action.option_strings[0]}: expected key=value, got 'model'"


def test_commands_are_found_and_refused():
    text = (
        'Do.\n\npython tools/test.py a \\\n    b --metrics "c d"\nmmwsss train --resum'
    )
    (test, arguments), (train, wrong) = commands_in(text)
    assert (test, arguments) == ('tools/test.py', ['a', 'b', '--metrics', 'c d'])
    assert refusal(parser_of(test), arguments) is None
    assert 'required' in refusal(parser_of(test), ['a'])
    assert 'required' in refusal(parser_of(train), wrong)
    assert 'unrecognized' in refusal(parser_of(train), ['c', '--work', 'a', 'b'])


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.name)
def test_scripts_tell_their_use(script, tmp_path):
    asked = subprocess.run(
        ['bash', script, '--help'], cwd=tmp_path, capture_output=True, text=True
    )
    assert (asked.returncode, asked.stderr) == (0, '')
    assert f'bash tools/{script.name}' in asked.stdout
    assert not re.search(r'^#', asked.stdout, re.M)
