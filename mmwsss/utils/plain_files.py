"""Files of strangers that are read only if they hold bytes of their own."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from mmwsss.utils.errors import ArtefactError

MAX_BYTES = 1 << 31
"""A file with holes may claim any length and take no disk."""


def open_plain(path: Path) -> BinaryIO:
    """Open a file that is no link, no folder, pipe or device.

    A link could lead anywhere; a pipe is not waited for.

    Raises:
        ArtefactError: if it is something else.
        OSError: as of ``open``.
    """
    found = os.lstat(path).st_mode
    if not stat.S_ISREG(found) and not stat.S_ISDIR(found):
        raise ArtefactError(
            f'{path} is a link, a pipe or a device: remove it, or put a copy of the '
            'file that it stands for in its place'
        )
    return open(path, 'rb')


def read_plain(path: Path) -> bytes:
    """Return the bytes of a file that ``open_plain`` opens.

    Raises:
        ArtefactError: if it is no such file, is absurdly long, or cannot be read.
        FileNotFoundError: if it is not there.
    """
    try:
        with open_plain(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise ArtefactError(
                    f'{path} claims {size} bytes, more than any of its kind: remove it'
                )
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ArtefactError(
            f'cannot read {path}: {error.strerror}; check the disk and permissions'
        ) from error
