"""Many records in few files.

::

    mmwsss-shard <sha256 of the next line>
    {"keys": [...], "lengths": [...]}
    <the records' bytes, one after the other>

Records are shared out by their sorted keys, a fixed number a file, so that equal
records give equal files. A file is replaced as a whole; readers hold none open, and may
be of any number of processes and threads.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from mmwsss.utils.atomic import atomic_write_bytes, atomic_writer, remove_file
from mmwsss.utils.errors import ArtefactError
from mmwsss.utils.json_stream import parse_json
from mmwsss.utils.plain_files import open_plain

SUFFIX = '.shard'
MAGIC = b'mmwsss-shard'
NAME = f'records-{{}}{SUFFIX}'
DIGITS = 5
MAX_TABLE = 1 << 26
"""Bytes of a table; a thousand records have some 50,000."""


class Place(NamedTuple):
    """Where a record is: a file, its first byte and its length."""

    path: Path
    start: int
    length: int


class Shards:
    """The packed records of a folder.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._places: dict[str, Place] | None = None
        self._damaged: list[Path] = []

    def __contains__(self, key: str) -> bool:
        return key in self.places()

    def places(self) -> Mapping[str, Place]:
        """Return where each record is."""
        if self._places is None:
            return self.reload()
        return self._places

    def reload(self) -> Mapping[str, Place]:
        """Read the tables of all files anew: another process may have packed."""
        places: dict[str, Place] = {}
        self._damaged = []
        for path in self.files():
            try:
                found = read_table(path)
            except ArtefactError:
                raise
            except ValueError:
                self._damaged.append(path)
                continue
            # while records move to an earlier file, that one has the newer bytes
            for key, place in found.items():
                places.setdefault(key, place)
        self._places = places
        return places

    def files(self) -> list[Path]:
        """Return the files, in the order of their records."""
        return sorted(self.root.glob(NAME.format('*')))

    def read(self, key: str) -> bytes | None:
        """Return a record's bytes, None if none of the files has it.

        Raises:
            ArtefactError: if a file cannot be read, or one that may have the record
                is damaged.
        """
        place = self.places().get(key) or self.reload().get(key)
        if place is None:
            if self._damaged:
                raise ArtefactError(
                    f'{self._damaged[0]} is damaged, {key} may be there'
                )
            return None
        try:
            file = os.open(place.path, os.O_RDONLY)
            try:
                return os.pread(file, place.length, place.start)
            finally:
                os.close(file)
        except OSError as error:
            raise ArtefactError(
                f'cannot read {place.path}: {error.strerror}; check the disk and '
                'permissions'
            ) from error

    def pack(
        self,
        keys: Sequence[str],
        read: Callable[[str], bytes],
        single: Callable[[str], Path],
        *,
        size: int,
    ) -> None:
        """Move records that are files of their own into shards.

        It may be stopped at any time and called again; one process calls it.

        Args:
            keys: All records.
            read: Returns a record's bytes, wherever they are.
            single: Returns the path that a record has as a file of its own.
            size: Records a file.

        Raises:
            ArtefactError: if a file cannot be read or written.
        """
        ordered = sorted(keys)
        present: dict[Path, list[str]] = {path: [] for path in self.files()}
        for key, place in self.reload().items():
            present[place.path].append(key)
        for start in range(0, len(ordered), size):
            group = ordered[start : start + size]
            path = self.root / NAME.format(f'{start // size:0{DIGITS}}')
            before = present.pop(path, [])
            if before != group or any(single(key).exists() for key in group):
                # what leaves this file is a file until its next one is written
                for key in set(before) - set(group):
                    atomic_write_bytes(single(key), read(key))
                write_shard(path, {key: read(key) for key in group})
            for key in group:
                _remove(single(key))
        for path in present:
            remove_file(path)
        self.reload()


def write_shard(path: Path, records: Mapping[str, bytes]) -> None:
    """Write records by key into one file, in the mapping's order.

    Raises:
        ArtefactError: if it cannot be written.
    """
    lengths = [len(content) for content in records.values()]
    table = json.dumps(dict(keys=list(records), lengths=lengths)).encode() + b'\n'
    with atomic_writer(path) as file:
        file.write(_first_line(table) + table)
        for content in records.values():
            file.write(content)


def read_table(path: Path) -> dict[str, Place]:
    """Return where each record of a file is.

    Raises:
        ValueError: if the file has no sound table, or another length than it says.
        ArtefactError: if it cannot be read.
    """
    try:
        with open_plain(path) as file:
            return _parse(path, file)
    except OSError as error:
        raise ArtefactError(
            f'cannot read {path}: {error.strerror}; check the disk and permissions'
        ) from error


def _parse(path: Path, file: BinaryIO) -> dict[str, Place]:
    first, table = file.readline(MAX_TABLE), file.readline(MAX_TABLE)
    if first != _first_line(table):
        raise ValueError('the table is cut short or changed')
    keys, lengths = _columns(parse_json(table))
    start = len(first) + len(table)
    places = {}
    for key, length in zip(keys, lengths):
        places[key] = Place(path, start, length)
        start += length
    if os.fstat(file.fileno()).st_size != start:
        raise ValueError(f'expected {start} bytes')
    return places


def _columns(table: Any) -> tuple[list[str], list[int]]:
    """Return keys and lengths; its checksum tells nothing of who wrote a table."""
    found = table if isinstance(table, dict) else {}
    keys, lengths = found.get('keys'), found.get('lengths')
    if (
        not isinstance(keys, list)
        or not isinstance(lengths, list)
        or len(keys) != len(lengths)
        or not all(isinstance(key, str) for key in keys)
        or not all(type(length) is int and length >= 0 for length in lengths)
        or len(set(keys)) < len(keys)
    ):
        raise ValueError('the table is no list of keys with their lengths')
    return keys, lengths


def _remove(path: Path) -> None:
    """Remove a file and the folders that it leaves empty."""
    remove_file(path)
    with suppress(OSError):
        os.removedirs(path.parent)


def _first_line(table: bytes) -> bytes:
    return MAGIC + b' ' + hashlib.sha256(table).hexdigest().encode() + b'\n'
