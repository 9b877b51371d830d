"""Run commands of the documentation, exactly as printed, in a fresh copy.

python tools/analysis/run_docs.py --list
python tools/analysis/run_docs.py docs/get_started.md --environment .venv --long
A line <!-- run: KIND, WORDS --> above a block of shell commands tells whether it runs:
    quick   within seconds; tests/test_tools/test_run_docs.py runs all of them
    long    with --long; the words tell how long it takes
    wheel   by tools/analysis/check_wheel.py, where the wheel is installed
    test    by the file that the words begin with, with data of its own
    never   for the reason that the words give
The blocks of a page run one after another in one copy of the repository's tracked and
new files. With --environment the copy has an installed environment as its .venv, so
that tools/setup_env.sh finds it made; without, a page must make its own.
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
QUICK, LONG, WHEEL, TEST, NEVER = 'quick', 'long', 'wheel', 'test', 'never'
KINDS = {QUICK: False, LONG: True, WHEEL: False, TEST: True, NEVER: True}
"""Whether a kind of block needs words."""
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

    @property
    def kind(self) -> str:
        """First word of the mark."""
        return self.mark.partition(',')[0]

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
            commands, is of no kind, or lacks the words of its kind.
    """
    lines = text.splitlines()
    number, mark = 0, None
    while number < len(lines):
        found = FENCE.match(lines[number])
        if found is None:
            said = MARK.match(lines[number])
            if mark and (said or lines[number].strip()):
                raise DataError(f'{page}:{number}: the mark stands above no block')
            mark = checked_mark(said['mark'], f'{page}:{number + 1}') if said else mark
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


def checked_mark(mark: str, place: str) -> str:
    """Return a mark.

    Raises:
        DataError: if it is of no kind or lacks the words of its kind.
    """
    kind, _, words = mark.partition(',')
    if kind not in KINDS:
        raise DataError(f'{place}: run: expected {", ".join(KINDS)}, got {mark!r}')
    if KINDS[kind] and not words.strip():
        raise DataError(f'{place}: run: {kind} needs words: {kind}, WORDS')
    if kind == TEST and not (ROOT / words.split()[0]).is_file():
        raise DataError(f'{place}: run: test, no file {words.split()[0]}')
    return mark


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


def lend_environment(environment: Path, folder: Path) -> None:
    """Make an installed environment the ``.venv`` of a copy.

    The folder is the copy's own, with a stamp of its own: tools/setup_env.sh would
    otherwise install the copy into the environment that is lent.
    """
    own = folder / '.venv'
    own.mkdir()
    for path in environment.resolve().iterdir():
        if not path.name.startswith('.mmwsss'):
            (own / path.name).symlink_to(path)
    command = ['bash', 'tools/setup_env.sh', 'fingerprint']
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, check=True)
    (own / '.mmwsss-stamp').write_bytes(done.stdout)


def run_block(block: Block, folder: Path) -> bool:
    """Run a block as one script that stops at the first failure; tell the outcome."""
    variables = dict(os.environ)
    own = folder / '.venv'
    if own.is_dir():
        variables['PATH'] = f'{own / "bin"}{os.pathsep}{variables["PATH"]}'
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


def run_pages(
    pages: Sequence[str], environment: Path | None, kinds: Sequence[str] = (QUICK,)
) -> list[str]:
    """Run the blocks of some kinds of each page; return the pages that failed."""
    failed = []
    for page in pages:
        wanted = [block for block in read_blocks(page) if block.kind in kinds]
        if not wanted:
            continue
        with tempfile.TemporaryDirectory(prefix='run_docs_') as name:
            copy_repository(Path(name))
            if environment is not None:
                lend_environment(environment, Path(name))
            for number, block in enumerate(wanted, 1):
                print(f'[{number}/{len(wanted)}] ', end='')
                if not run_block(block, Path(name)):
                    failed.append(page)
                    break
    return failed


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('pages', nargs='*', help='Markdown files; all by default')
    parser.add_argument('--list', action='store_true', help='print, run nothing')
    parser.add_argument('--long', action='store_true', help='also the long ones')
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
        return
    kinds = (QUICK, LONG) if args.long else (QUICK,)
    failed = run_pages(pages, args.environment, kinds)
    print(f'failed: {", ".join(failed) or "none"}')
    sys.exit(bool(failed))


if __name__ == '__main__':
    run_tool(main)
