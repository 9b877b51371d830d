"""Run commands of the documentation, exactly as printed, in a fresh copy.

python tools/analysis/run_docs.py --list
python tools/analysis/run_docs.py docs/get_started.md --environment .venv
A line <!-- run: quick --> above a block of shell commands marks it as one that takes
minutes at most; only those run, those of a page one after another in one copy of the
repository's tracked and new files. Other words after "run:" are a reason not to run.
With --environment an installed environment is used; without, a page must make its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mmwsss.apis.launch import run_tool
from mmwsss.utils.errors import ConfigError, DataError

ROOT = Path(__file__).parents[2]
PAGES = ('README.md', 'docs/get_started.md', 'docs/own_data.md', 'docs/tutorials/*.md')
LANGUAGES = frozenset({'bash', 'sh', 'shell', 'console'})
QUICK = 'quick'
UNMARKED = 'not marked'
FENCE = re.compile(r'^(?P<indent> *)(?P<fence>```+|~~~+) *(?P<language>[\w-]*)')
MARK = re.compile(r'^ *<!-- *run: *(?P<mark>.*?) *--> *$')


class Block(NamedTuple):
    """A fenced block of shell commands."""

    page: str
    line: int
    """Of the first command, from 1."""
    mark: str
    text: str

    def commands(self) -> list[str]:
        """Return the commands, continued lines joined, comments left out."""
        joined = re.sub(r' *\\\n *', ' ', self.text)
        lines = (line.strip() for line in joined.splitlines())
        return [line for line in lines if line and not line.startswith('#')]


def blocks_of(text: str, page: str) -> Iterator[Block]:
    """Yield the blocks of shell commands of a page.

    Args:
        text: Markdown.
        page: Name of the page, for messages.

    Raises:
        DataError: if a block does not end, or a mark stands above no block of shell
            commands.
    """
    lines = text.splitlines()
    number, mark = 0, None
    while number < len(lines):
        found = FENCE.match(lines[number])
        if found is None:
            said = MARK.match(lines[number])
            if mark and (said or lines[number].strip()):
                raise DataError(f'{page}:{number}: the mark stands above no block')
            mark = said['mark'] if said else mark
            number += 1
            continue
        end = _end_of(lines, number, found, page)
        if found['language'] in LANGUAGES:
            inside = [line[len(found['indent']) :] for line in lines[number + 1 : end]]
            yield Block(page, number + 2, mark or UNMARKED, '\n'.join(inside) + '\n')
        elif mark:
            raise DataError(f'{page}:{number}: the mark stands above no shell commands')
        number, mark = end + 1, None
    if mark:
        raise DataError(f'{page}:{number}: the mark stands above no block')


def _end_of(lines: Sequence[str], start: int, opening: re.Match, page: str) -> int:
    for number in range(start + 1, len(lines)):
        if lines[number].strip() == opening['fence']:
            return number
    raise DataError(f'{page}:{start + 1}: this block does not end')


def pages_of(names: Sequence[str]) -> list[str]:
    """Return the pages' paths from the repository root, those asked for or all.

    Raises:
        ConfigError: if one is not there.
    """
    if not names:
        found = (ROOT.glob(pattern) for pattern in PAGES)
        return [p.relative_to(ROOT).as_posix() for ps in found for p in sorted(ps)]
    for name in names:
        if not (ROOT / name).is_file():
            raise ConfigError(f'no page {name}; name it from {ROOT}')
    return list(names)


def read_blocks(page: str) -> list[Block]:
    """Return the blocks of a page of the repository."""
    return list(blocks_of((ROOT / page).read_text('utf-8'), page))


def copy_repository(target: Path) -> None:
    """Copy tracked and new files, without what git ignores.

    Raises:
        ConfigError: if the tool is not in a checkout of the repository.
    """
    if not (ROOT / '.git').exists():
        raise ConfigError(f'{ROOT} is no checkout of the repository; run it in one')
    listed = ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard']
    done = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, done.stdout.decode().split('\0')):
        source = ROOT / name
        if source.is_symlink() or source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)


def run_block(block: Block, folder: Path, environment: Path | None) -> bool:
    """Run a block as one script that stops at the first failure; tell the outcome."""
    variables = dict(os.environ)
    if environment is not None:
        binaries = environment.resolve() / 'bin'
        link = folder / '.venv'
        if not link.exists():
            link.symlink_to(environment.resolve())
        variables['PATH'] = f'{binaries}{os.pathsep}{variables["PATH"]}'
        # an editable installation would import the repository that it was made of
        variables['PYTHONPATH'] = str(folder)
    print(f'{block.page}:{block.line}\n{block.text}', end='', flush=True)
    start = time.monotonic()
    command = ['bash', '-euo', 'pipefail', '-c', block.text]
    done = subprocess.run(command, cwd=folder, env=variables)
    seconds = time.monotonic() - start
    outcome = 'done' if done.returncode == 0 else f'failed ({done.returncode})'
    print(f'-- {outcome} in {seconds:.0f} s', flush=True)
    return done.returncode == 0


def list_commands(pages: Sequence[str]) -> None:
    """Print each command with its place and mark."""
    for page in pages:
        for block in read_blocks(page):
            for command in block.commands():
                print(f'{page}:{block.line}\t{block.mark}\t{command}')


def run_pages(pages: Sequence[str], environment: Path | None) -> int:
    """Run the quick blocks of each page; return how many pages failed."""
    failed = 0
    for page in pages:
        quick = [block for block in read_blocks(page) if block.mark == QUICK]
        if not quick:
            continue
        with tempfile.TemporaryDirectory(prefix='run_docs_') as name:
            copy_repository(Path(name))
            failed += not all(run_block(b, Path(name), environment) for b in quick)
    return failed


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('pages', nargs='*', help='Markdown files; all by default')
    parser.add_argument('--list', action='store_true', help='print, run nothing')
    parser.add_argument(
        '--environment', type=Path, help='virtual environment that has what is needed'
    )
    return parser.parse_args()


def main() -> None:
    """Run."""
    args = parse_arguments()
    if args.environment and not (args.environment / 'bin/python').exists():
        raise ConfigError(f'--environment: {args.environment} has no bin/python')
    pages = pages_of(args.pages)
    if args.list:
        list_commands(pages)
    else:
        sys.exit(min(1, run_pages(pages, args.environment)))


if __name__ == '__main__':
    run_tool(main)
