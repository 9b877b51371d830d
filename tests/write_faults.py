"""A disk that fails, or ends the process, at the n-th thing that is asked of it."""

import builtins
import errno
import io
import os
import signal
from contextlib import contextmanager
from pathlib import Path

CALLS = ('fsync', 'replace', 'unlink', 'mkdir', 'rmdir')
FREEING = ('unlink', 'rmdir')
REASONS = {
    errno.ENOSPC: 'the disk is full',
    errno.EROFS: 'the file system is read-only',
    errno.EIO: os.strerror(errno.EIO),
}
CODES = tuple(REASONS)


class Disk:
    """Counts what is asked of files below a folder, and answers with a fault.

    A full disk stays full, and still lets files be removed; a read-only one refuses
    all; EIO comes once. Without a code the process is killed.

    Attributes:
        calls: Kind and path, None where unknown, of each call so far.
    """

    def __init__(self, folder, *, at=None, code=None):
        self.folder, self.at, self.code = os.path.abspath(folder), at, code
        self.calls = []

    def owns(self, path):
        if isinstance(path, int):
            return True
        full = os.path.abspath(os.fspath(path))
        return full == self.folder or full.startswith(self.folder + os.sep)

    def fault(self, kind, path=None):
        """Count a call; return the error it shall raise, if any.

        Of a file that is open the system tells no name.
        """
        number = len(self.calls)
        self.calls.append((kind, path))
        if self.at is None or number < self.at:
            return None
        if self.code is None:
            return SystemError
        again = self.code != errno.EIO
        spared = self.code == errno.ENOSPC and kind in FREEING
        if (number > self.at and not again) or spared:
            return None
        named = () if kind == 'write' else (path,)
        return OSError(self.code, os.strerror(self.code), *named)

    def check(self, kind, path=None):
        error = self.fault(kind, path)
        if error is SystemError:
            os.kill(os.getpid(), signal.SIGKILL)
        if error:
            raise error


class Written:
    """A file whose ``write`` may take half of what it gets, and fail."""

    def __init__(self, file, disk, path):
        self._file, self._disk, self._path = file, disk, path

    def write(self, content):
        error = self._disk.fault('write', self._path)
        if error:
            self._file.write(content[: len(content) // 2])
            self._file.flush()
        if error is SystemError:
            os.kill(os.getpid(), signal.SIGKILL)
        if error:
            raise error
        return self._file.write(content)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()

    def __iter__(self):
        return iter(self._file)

    def __getattr__(self, name):
        return getattr(self._file, name)


@contextmanager
def failing_disk(folder, *, at=None, code=None):
    """Let calls that change something below a folder fail from a number on.

    Args:
        folder: Where; calls elsewhere are neither counted nor touched.
        at: Number of the first call that fails, from 0; None only counts.
        code: The errno; None kills this process in place of an error.
    """
    disk = Disk(folder, at=at, code=code)
    kept = {name: getattr(os, name) for name in CALLS}
    plain_open = builtins.open

    def wrap(name):
        def call(path, *args, **options):
            # a file that is renamed counts by its new name
            place = args[0] if name == 'replace' else path
            if options.get('dir_fd') is not None:
                folder = os.readlink(f'/proc/self/fd/{options["dir_fd"]}')
                place = os.path.join(folder, path)
            if disk.owns(place):
                known = None if isinstance(place, int) else os.fspath(place)
                disk.check(name, known)
            return kept[name](path, *args, **options)

        return call

    def opened(path, mode='r', *args, **options):
        writes = set(mode) & set('wxa+') and not isinstance(path, int)
        if not (writes and disk.owns(path)):
            return plain_open(path, mode, *args, **options)
        disk.check('open', os.fspath(path))
        file = plain_open(path, mode, *args, **options)
        return Written(file, disk, os.fspath(path))

    builtins.open = io.open = opened
    for name in CALLS:
        setattr(os, name, wrap(name))
    try:
        yield disk
    finally:
        builtins.open = io.open = plain_open
        for name, call in kept.items():
            setattr(os, name, call)


def count_calls(job, folder):
    """Run a job with a folder; return what it asks of the disk there."""
    Path(folder).mkdir(parents=True)
    with failing_disk(folder) as disk:
        job(Path(folder))
    return disk.calls


def killed_at(job, folder, number):
    """Run a job in a fork that is killed at a call; return whether it was."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with failing_disk(folder, at=number):
                job(Path(folder))
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
