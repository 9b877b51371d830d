"""Files appear complete or not at all, whatever fails while they are written."""

import errno
import os

import pytest

from mmwsss.utils import atomic
from mmwsss.utils.atomic import (
    atomic_write_bytes,
    atomic_write_text,
    atomic_writer,
    remove_file,
    remove_temporaries,
)
from mmwsss.utils.errors import ArtefactError

REASONS = {
    errno.ENOSPC: 'the disk is full: free some space',
    errno.EDQUOT: 'your disk quota is used up',
    errno.EROFS: 'the file system is read-only: choose a folder on a writable disk',
    errno.EACCES: 'permission denied: make the folder writable',
    errno.EIO: os.strerror(errno.EIO),
}


def names(folder):
    return sorted(path.name for path in folder.rglob('*'))


def failing(code):
    def fail(*args):
        raise OSError(code, os.strerror(code))

    return fail


class FullFile:
    """A file whose ``write`` fails after it has taken half of the content."""

    def __init__(self, file, code):
        self.file, self.code = file, code

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, content):
        self.file.write(content[: len(content) // 2])
        failing(self.code)()


def inject(monkeypatch, step, code):
    if step == 'write':
        monkeypatch.setattr(
            atomic,
            'open',
            lambda path, mode: FullFile(path.open(mode), code),
            raising=False,
        )
    elif step == 'open':
        monkeypatch.setattr(atomic, 'open', failing(code), raising=False)
    else:
        monkeypatch.setattr(atomic.os, step, failing(code))


def test_content_and_folders(tmp_path):
    atomic_write_bytes(tmp_path / 'a/b/c.bin', b'\x00\r\n')
    atomic_write_text(str(tmp_path / 'a/d.txt'), 'ä\n')
    assert (tmp_path / 'a/b/c.bin').read_bytes() == b'\x00\r\n'
    assert (tmp_path / 'a/d.txt').read_bytes() == b'\xc3\xa4\n'
    assert names(tmp_path) == ['a', 'b', 'c.bin', 'd.txt']


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / 'plain').write_bytes(b'')
    atomic_write_bytes(tmp_path / 'atomic', b'')
    modes = [(tmp_path / name).stat().st_mode for name in ('plain', 'atomic')]
    assert modes[0] == modes[1]


def test_old_content_stands_until_the_block_ends(tmp_path):
    path = tmp_path / 'file'
    atomic_write_bytes(path, b'old')
    with atomic_writer(path) as file:
        file.write(b'new')
        file.flush()
        assert path.read_bytes() == b'old'
    assert path.read_bytes() == b'new'


@pytest.mark.parametrize('step', ['open', 'write', 'fsync', 'replace'])
@pytest.mark.parametrize('code', REASONS)
def test_failure_keeps_the_old_file(tmp_path, monkeypatch, step, code):
    path = tmp_path / 'file'
    atomic_write_bytes(path, b'old')
    with monkeypatch.context() as patch:
        inject(patch, step, code)
        with pytest.raises(ArtefactError) as caught:
            atomic_write_bytes(path, b'newer')
    assert str(caught.value).startswith(f'cannot write {path}: {REASONS[code]}')
    assert 'finished files are kept' in str(caught.value)
    assert caught.value.__cause__.errno == code
    assert path.read_bytes() == b'old' and names(tmp_path) == ['file']


@pytest.mark.parametrize('error', [KeyboardInterrupt, RuntimeError])
def test_other_errors_pass_and_leave_nothing(tmp_path, error):
    with pytest.raises(error), atomic_writer(tmp_path / 'file') as file:
        file.write(b'half')
        raise error
    assert names(tmp_path) == []


def test_error_of_another_file_in_the_block_is_not_renamed(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_writer(tmp_path / 'file') as file:
        file.write((tmp_path / 'absent').read_bytes())
    assert names(tmp_path) == []


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ArtefactError, match='a part of the path is a file'):
        atomic_write_bytes(tmp_path / 'file/below/x', b'')


def test_name_taken_by_a_folder(tmp_path):
    (tmp_path / 'name').mkdir()
    with pytest.raises(ArtefactError, match='a folder has that name'):
        atomic_write_bytes(tmp_path / 'name', b'')
    assert names(tmp_path) == ['name']


def test_long_names(tmp_path):
    atomic_write_bytes(tmp_path / ('x' * 255), b'')
    with pytest.raises(ArtefactError, match='the name is too long'):
        atomic_write_bytes(tmp_path / ('x' * 256), b'')


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    for name in ('.mmwsss-1a-0123abcd.tmp', 'sub/.mmwsss-2-0.tmp', 'kept.tmp'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'half')
    assert remove_temporaries(tmp_path) == 2
    assert names(tmp_path) == ['kept.tmp', 'sub']


def test_remove_file(tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    remove_file(tmp_path / 'file')
    remove_file(tmp_path / 'file')
    assert names(tmp_path) == []
    with pytest.raises(ArtefactError, match=f'cannot write {tmp_path}'):
        remove_file(tmp_path)
