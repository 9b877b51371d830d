"""Commands of the documentation: how they are found, marked and run."""

import importlib.util
import sys
from pathlib import Path

import pytest

from mmwsss.utils.errors import ConfigError, DataError

ROOT = Path(__file__).parents[2]
PAGE = """# Page

```python
print('no command')
```

<!-- run: quick -->
```bash
# a comment
mkdir one && \\
  cd one

ls
```

- a list:

  <!-- run: never, needs a GPU -->

  ~~~sh
  echo two
  ~~~

```bash
echo three
```
"""


def load_tool():
    path = ROOT / 'tools/analysis/run_docs.py'
    spec = importlib.util.spec_from_file_location('run_docs', path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


tool = load_tool()


def test_blocks_are_found_with_their_marks_and_lines():
    blocks = list(tool.blocks_of(PAGE, 'page.md'))
    assert [(b.line, b.mark) for b in blocks] == [
        (9, 'quick'),
        (21, 'never, needs a GPU'),
        (25, 'not marked'),
    ]
    assert blocks[0].commands() == ['mkdir one && cd one', 'ls']
    assert blocks[1].text == 'echo two\n'
    lines = PAGE.splitlines()
    assert [lines[b.line - 1].strip() for b in blocks] == [
        '# a comment',
        'echo two',
        'echo three',
    ]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('<!-- run: quick -->\ntext', 'p:1: the mark stands above no block'),
        ('<!-- run: quick -->\n', 'p:1: the mark stands above no block'),
        (
            '<!-- run: quick -->\n<!-- run: quick -->',
            'p:1: the mark stands above no block',
        ),
        ('<!-- run: soon -->\n```bash\nls\n```', "p:1: .*never, got 'soon'"),
        ('a\n<!-- run: never -->\n```bash\nls\n```', 'p:2: .* never needs words'),
        ('<!-- run: test, no.py -->\n```bash\nls\n```', 'p:1: .*no file no.py'),
        ('<!-- run: quick -->\n```text\n```', 'above no shell commands'),
        ('a\n```bash\nls\n', 'p:2: this block does not end'),
    ],
)
def test_odd_pages_are_refused(text, message):
    with pytest.raises(DataError, match=message):
        list(tool.blocks_of(text, 'p'))


def test_a_block_stops_at_its_first_failure(tmp_path, capfd):
    block = tool.Block('p', 1, 'quick', 'echo begun\nfalse\necho never\n')
    assert not tool.run_block(block, tmp_path)
    printed = capfd.readouterr().out
    assert 'begun\n-- failed (1)' in printed
    assert tool.run_block(block._replace(text='touch x\n'), tmp_path)
    assert (tmp_path / 'x').is_file()


def test_quick_blocks_run_in_one_copy_and_others_do_not(tmp_path, monkeypatch):
    note = tmp_path / 'note'
    root = tmp_path / 'repository'
    root.mkdir()
    (root / 'page.md').write_text(
        '<!-- run: quick -->\n```bash\necho kept > file\n```\n'
        '```bash\nrm file\n```\n'
        '<!-- run: long, a while -->\n```bash\necho more >> file\n```\n'
        f'<!-- run: quick -->\n```bash\ncat file > {note}\n```\n'
    )
    monkeypatch.setattr(tool, 'ROOT', root)
    monkeypatch.setattr(tool, 'copy_repository', lambda target: None)
    assert tool.run_pages(['page.md'], None) == []
    assert note.read_text() == 'kept\n'
    assert tool.run_pages(['page.md'], None, ('quick', 'long')) == []
    assert note.read_text() == 'kept\nmore\n'
    with open(root / 'page.md', 'a') as file:
        file.write('<!-- run: quick -->\n```bash\ncat none\n```\n')
    assert tool.run_pages(['page.md'], None) == ['page.md']
    assert not (root / 'file').exists()


def test_only_a_checkout_can_be_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(tool, 'ROOT', tmp_path)
    with pytest.raises(ConfigError, match='no checkout of the repository'):
        tool.copy_repository(tmp_path / 'copy')


@pytest.mark.skipif(not (ROOT / '.git').exists(), reason='no checkout')
def test_copy_holds_what_git_would_commit(tmp_path):
    tool.copy_repository(tmp_path)
    assert (tmp_path / 'tools/train.py').is_file()
    assert (tmp_path / 'configs/acr/vit_hybrid_voc.py').is_file()
    assert not (tmp_path / '.git').exists() and not (tmp_path / '.venv').exists()


def test_pages_are_those_asked_for():
    assert 'README.md' in tool.pages_of([])
    assert tool.pages_of(['docs/own_data.md']) == ['docs/own_data.md']
    with pytest.raises(ConfigError, match='no page docs/none.md'):
        tool.pages_of(['docs/none.md'])


def test_pages_of_the_repository_can_be_read(capsys):
    tool.list_commands(tool.pages_of([]))
    lines = capsys.readouterr().out.splitlines()
    assert any(line.endswith('bash tools/quickstart.sh') for line in lines)
    assert any('\tquick\t' in line for line in lines)


def test_every_block_says_whether_it_runs():
    blocks = [block for page in tool.pages_of([]) for block in tool.read_blocks(page)]
    unmarked = [f'{b.page}:{b.line}' for b in blocks if b.mark == tool.UNMARKED]
    assert not unmarked
    assert {block.kind for block in blocks} == set(tool.KINDS)


@pytest.mark.skipif(not (ROOT / '.git').exists(), reason='no checkout')
@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason='no virtual environment')
def test_quick_blocks_of_all_pages(capfd):
    """What new users type first, as it is printed, in a copy of the repository."""
    before = {path: path.stat().st_mtime_ns for path in Path(sys.prefix).iterdir()}
    failed = tool.run_pages(tool.pages_of([]), Path(sys.prefix))
    printed = capfd.readouterr()
    assert not failed, printed.out + printed.err
    # nothing was installed, into the environment that is lent least of all
    assert 'setup_env.sh' not in printed.err
    after = {path: path.stat().st_mtime_ns for path in Path(sys.prefix).iterdir()}
    assert after == before
