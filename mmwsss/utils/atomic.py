"""Files that appear complete or not at all.

A file is written to a temporary name in its folder, flushed to the disk and renamed.
The rename itself is not forced to the disk: a power cut may lose the last files, which
are then missing, not torn.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mmwsss.utils.errors import ArtefactError

TEMPORARY_PREFIX = '.mmwsss-'
TEMPORARY_SUFFIX = '.tmp'

REMEDIES = {
    errno.ENOSPC: 'the disk is full: free some space',
    errno.EDQUOT: 'your disk quota is used up: free some space',
    errno.EROFS: 'the file system is read-only: choose a folder on a writable disk',
    errno.EACCES: 'permission denied: make the folder writable or choose another',
    errno.EPERM: 'permission denied: make the folder writable or choose another',
    errno.ENOTDIR: 'a part of the path is a file: choose another folder',
    errno.EEXIST: 'a part of the path is a file: choose another folder',
    errno.EISDIR: 'a folder has that name: remove it or choose another',
    errno.ENAMETOOLONG: 'the name is too long: choose a shorter folder or image id',
}

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""What a disk may answer to any write."""


def write_error(path: str | Path, cause: OSError) -> ArtefactError:
    """Return the error that names the file, what failed and what to do."""
    reason = REMEDIES.get(cause.errno or 0, cause.strerror or str(cause))
    return ArtefactError(
        f'cannot write {path}: {reason}; then run again, finished files are kept'
    )


@contextmanager
def named_write_errors(folder: str | Path) -> Iterator[None]:
    """Let errors of the disk within the block name a file, or else the folder.

    For what others write there, of which the system tells no name once it is open. A
    line that a log loses is passed over: what follows it tells of the disk.

    Raises:
        ArtefactError: in place of an error of the disk, or a missing permission.
    """
    shown, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS and not isinstance(error, PermissionError):
            raise
        raise write_error(error.filename or folder, error) from error
    finally:
        logging.raiseExceptions = shown


@contextmanager
def atomic_writer(path: str | Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a binary file that gets its name when the block ends without an error.

    An existing file is replaced. Missing folders are made.

    Args:
        path: Final name.
        durable: False leaves it to the system when the bytes reach the disk: faster,
            and a power cut may tear the file. For files whose bytes tell that they
            are whole.

    Yields:
        The open temporary file.

    Raises:
        ArtefactError: if the file cannot be written; what stood under ``path``
            before stays and the temporary file is removed.
    """
    path = Path(path)
    name = f'{TEMPORARY_PREFIX}{os.getpid():x}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}'
    temporary = path.with_name(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, 'xb') as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and _concerns(error, path, temporary):
            raise write_error(path, error) from error
        raise


def atomic_write_bytes(
    path: str | Path, content: bytes, *, durable: bool = True
) -> None:
    """Write a file of bytes; see ``atomic_writer``."""
    with atomic_writer(path, durable=durable) as file:
        file.write(content)


def flush_file(path: str | Path) -> None:
    """Wait until a file's bytes are on the disk.

    Raises:
        ArtefactError: if they cannot be written there.
    """
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise write_error(path, error) from error


def atomic_write_text(path: str | Path, content: str) -> None:
    """Write a text file in UTF-8 with line ends as given; see ``atomic_writer``."""
    atomic_write_bytes(path, content.encode('utf-8'))


def remove_file(path: str | Path) -> None:
    """Remove a file if it is there.

    Raises:
        ArtefactError: if it cannot be removed.
    """
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error) from error


def remove_temporaries(folder: str | Path) -> int:
    """Remove what killed writers left below ``folder``; return how many files.

    Call it when no process writes there any more.
    """
    names = f'{TEMPORARY_PREFIX}*{TEMPORARY_SUFFIX}'
    leftovers = [path for path in Path(folder).rglob(names) if path.is_file()]
    for path in leftovers:
        remove_file(path)
    return len(leftovers)


def _concerns(error: OSError, path: Path, temporary: Path) -> bool:
    """Tell an error of our file from one of another file opened in the block."""
    if error.filename is None:
        return True
    named = Path(os.fsdecode(error.filename))
    return named in (temporary, path) or named in path.parents
