"""The command ``mmwsss``: the tools, wherever the package is installed."""

from __future__ import annotations

import ast
import difflib
import runpy
import sys
from pathlib import Path

from mmwsss import __version__
from mmwsss.apis.launch import run_tool
from mmwsss.utils.errors import ConfigError
from mmwsss.utils.packaged_files import TOOLS, config_names, config_path

START = "if __name__ == '__main__':"
USAGE = """usage: mmwsss TOOL [arguments]     mmwsss TOOL --help tells of them
       mmwsss configs             names of the configs that come with mmwsss
       mmwsss --version

A config may be a file, or such a name: mmwsss train acr/hybrid_embedded

tools:
"""


def tool_names() -> list[str]:
    """Return the names of all tools, those for every day first, each part sorted."""
    # others are modules that tools share
    files = [p for p in TOOLS.rglob('*.py') if START in p.read_text('utf-8')]
    names = [path.relative_to(TOOLS).with_suffix('').as_posix() for path in files]
    return sorted(names, key=lambda name: (name.count('/'), name))


def tool_path(name: str) -> Path:
    """Return the file of a tool.

    Raises:
        ConfigError: if there is none; the message offers close names.
    """
    path = TOOLS / f'{name.replace("-", "_")}.py'
    if path.is_file():
        return path
    close = difflib.get_close_matches(name, tool_names(), n=1) or ['train']
    raise ConfigError(
        f'no tool {name!r}, did you mean {close[0]!r}? "mmwsss --help" lists them'
    )


def overview() -> str:
    """Return what ``mmwsss --help`` prints."""
    names = tool_names()
    width = max(map(len, names), default=0)
    lines = [f'  {name:{width}}  {_purpose(TOOLS / f"{name}.py")}' for name in names]
    return USAGE + '\n'.join(lines)


def _purpose(path: Path) -> str:
    """Return the first line of a tool's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text('utf-8'))) or ''
    return text.partition('\n')[0]


def with_config_found(arguments: list[str]) -> list[str]:
    """Put the file of a packaged config for its name, if the first argument is one."""
    if not arguments or Path(arguments[0]).exists():
        return arguments
    try:
        return [str(config_path(arguments[0])), *arguments[1:]]
    except ConfigError:
        return arguments


def _run() -> None:
    name, *arguments = sys.argv[1:] or ['--help']
    if name in ('-h', '--help'):
        print(overview())
    elif name == '--version':
        print(__version__)
    elif name == 'configs':
        print('\n'.join(config_names()))
    else:
        path = tool_path(name)
        sys.argv[1:] = with_config_found(arguments)
        # as if it were run as a file: some tools share modules of their folder
        sys.path.insert(0, str(path.parent))
        runpy.run_path(str(path), run_name='__main__')


def main() -> None:
    """Run the command."""
    run_tool(_run)
