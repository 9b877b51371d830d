"""One folder of artefacts: a file an item, a manifest, an index once all are there.

::

    manifest.json         what the folder holds and is made from, written first
    <key><suffix>         one artefact, complete from the moment it has its name
    records-00000.shard   artefacts of a large store, moved there by ``finish``
    index.json            checksum of each artefact, written last by ``finish``

What is stored is a codec's business (``Codec``); its files are the same bytes
whichever process writes them and in whichever order. A file of its own counts for
more than a shard, so that single artefacts of a packed store can be made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from mmwsss.utils.atomic import (
    atomic_write_bytes,
    atomic_write_text,
    flush_file,
    remove_file,
    remove_temporaries,
)
from mmwsss.utils.errors import ArtefactError
from mmwsss.utils.json_stream import parse_json
from mmwsss.utils.plain_files import read_plain
from mmwsss.utils.sealing import OriginError, Seal, difference
from mmwsss.utils.shards import SUFFIX as SHARD_SUFFIX
from mmwsss.utils.shards import Shards

Value = TypeVar('Value')

MANIFEST = 'manifest.json'
INDEX = 'index.json'
SHOWN_KEYS = 3
# a dot in front hides a file and starts '..'; a backslash parts folders elsewhere; of
# the surrogates, file names have those alone that stand for bytes beyond UTF-8
NEVER = r'/\\\x00-\x1f\ud800-\udc7f\udd00-\udfff'
KEY_PART = re.compile(rf'[^.{NEVER}][^{NEVER}]*')
AGAIN = 'run the command that writes it again, it makes what is missing or damaged'
ELSEWHERE = 'choose another folder or remove this one'
PACKED_FROM = 2000
"""Artefacts from which on a sealed store is packed; below, one sees them as files."""
SHARD_SIZE = 1000


class Codec(Protocol[Value]):
    """Turns a value into bytes and back.

    Attributes:
        kind: What is stored, for the manifest and for messages.
        version: Version of the bytes; a store of another version is refused.
        suffix: Suffix of the files, with its dot.
        sealed: True puts a checksum and the artefact's origin in front of the
            bytes; False leaves them as they are, for files other programs read.
    """

    kind: str
    version: int
    suffix: str
    sealed: bool

    def encode(self, value: Value) -> bytes:
        """Return the value's bytes, the same for equal values."""
        ...

    def decode(self, content: bytes) -> Value:
        """Return the value; raise ValueError if the bytes are not one's."""
        ...


class ArtefactStore(Generic[Value]):
    """Values by key in a folder, made once, restartable, for several writers.

    Use ``create`` to write and ``open`` to read.
    """

    def __init__(
        self, root: Path, codec: Codec[Value], identity: Mapping[str, str]
    ) -> None:
        self.root = root
        self.codec = codec
        self.identity = dict(sorted(identity.items()))
        self.shards = Shards(root)

    @classmethod
    def create(
        cls, root: str | Path, codec: Codec[Value], identity: Mapping[str, str]
    ) -> ArtefactStore[Value]:
        """Start a store, or go on with one of the same identity.

        Any number of processes may call it at once.

        Args:
            root: Folder of the store; made if missing.
            codec: How values are stored.
            identity: Name to digest of each thing the artefacts are made from,
                for instance config, checkpoint and data set.

        Raises:
            ArtefactError: if the folder holds artefacts of another origin or of
                none, or cannot be written.
        """
        root = Path(root)
        # looked for first: another process may be writing manifest and files by now
        names = (codec.suffix, SHARD_SUFFIX)
        holds_files = any(any(root.rglob(f'*{suffix}')) for suffix in names)
        if not (root / MANIFEST).exists():
            if holds_files:
                raise ArtefactError(
                    f'{root} holds {codec.suffix} files and no {MANIFEST}: {ELSEWHERE}'
                )
            manifest = dict(
                kind=codec.kind, version=codec.version, identity=dict(identity)
            )
            atomic_write_text(root / MANIFEST, _dump(manifest))
        store = cls.open(root, codec, identity)
        if store.identity.keys() != identity.keys():
            raise ArtefactError(
                f'{root} is made from {sorted(store.identity)}, asked for '
                f'{sorted(identity)}: {ELSEWHERE}'
            )
        return store

    @classmethod
    def open(
        cls,
        root: str | Path,
        codec: Codec[Value],
        identity: Mapping[str, str] | None = None,
    ) -> ArtefactStore[Value]:
        """Open an existing store.

        Args:
            root: Folder of the store.
            codec: How values are stored.
            identity: What the reader expects; a part of the store's, or None.

        Raises:
            ArtefactError: if there is no manifest, or it is of another kind,
                version or origin.
        """
        path = Path(root) / MANIFEST
        manifest = _load(path)
        found = (manifest.get('kind'), manifest.get('version'))
        if found != (codec.kind, codec.version):
            raise ArtefactError(
                f'{path} is of {found[0]} (version {found[1]}), expected {codec.kind} '
                f'(version {codec.version}): {ELSEWHERE}'
            )
        stored = manifest.get('identity')
        if not isinstance(stored, dict) or any(
            not isinstance(text, str) for text in stored.values()
        ):
            raise ArtefactError(f'{path} names no identity: {ELSEWHERE}')
        expected = stored if identity is None else identity
        change = difference(stored, expected)
        if change:
            raise ArtefactError(
                f'{root} holds {codec.kind} of another {change}: {ELSEWHERE}'
            )
        return cls(Path(root), codec, stored)

    def path(self, key: str) -> Path:
        """Return the file of a key; ``/`` in a key parts folders.

        Raises:
            ArtefactError: if the key could lead out of the store or to a hidden file,
                or one of its folders is a link.
        """
        if not all(KEY_PART.fullmatch(part) for part in key.split('/')):
            raise ArtefactError(
                f'{key!r} is no name for an artefact: rename the image; names neither '
                'start with a dot nor hold backslashes or control characters'
            )
        path = self.root / f'{key}{self.codec.suffix}'
        for folder in path.parents[: key.count('/')]:
            if os.path.islink(folder):
                raise ArtefactError(
                    f'{folder} is a link, which could lead out of the store: remove '
                    'it, or copy the folder that it stands for'
                )
        return path

    def write(self, key: str, value: Value) -> Path:
        """Store a value and return its file; an earlier one is replaced.

        A sealed file is sure to be on the disk only after ``finish``: what a power
        cut tears before is told by its seal, and made again.

        Raises:
            ArtefactError: if it cannot be written.
        """
        path = self.path(key)
        content = self.codec.encode(value)
        if self.codec.sealed:
            content = self._seal(key).close(content)
        remove_file(self.root / INDEX)
        atomic_write_bytes(path, content, durable=not self.codec.sealed)
        return path

    def read(self, key: str) -> Value:
        """Return a value.

        Raises:
            ArtefactError: if its file is missing, damaged or of another origin.
        """
        return self._decode(key, self._content(key))

    def is_complete(self, key: str) -> bool:
        """Tell whether the value is there and sound."""
        try:
            self.read(key)
        except ArtefactError:
            return False
        return True

    def pending(self, keys: Iterable[str]) -> list[str]:
        """Return the keys, in order, whose value is missing or unsound."""
        return [key for key in keys if not self.is_complete(key)]

    def keys(self) -> list[str]:
        """Return the keys of all artefacts, sorted; ``read`` tells which are sound."""
        suffix = self.codec.suffix
        names = (path.relative_to(self.root) for path in self.root.rglob(f'*{suffix}'))
        singles = {name.as_posix().removesuffix(suffix) for name in names}
        return sorted(singles.union(self.shards.reload()))

    def finish(self, keys: Sequence[str]) -> str:
        """Check that the store holds just these keys, and write the index.

        One process calls it, after all have written. Many sealed artefacts are moved
        into shards first; stopped there, the store is unfinished and loses nothing.

        Args:
            keys: All keys there should be.

        Returns:
            Digest of the whole store.

        Raises:
            ArtefactError: if a value is missing, unsound or not asked for.
        """
        files = {}
        lacking = []
        for key in sorted(keys):
            try:
                content = self._content(key)
                self._decode(key, content)
                files[key] = hashlib.sha256(content).hexdigest()
            except ArtefactError:
                lacking.append(key)
        if lacking:
            raise ArtefactError(f'{self.root} lacks {_some(lacking)}: {AGAIN}')
        extra = sorted(set(self.keys()) - files.keys())
        if extra:
            raise ArtefactError(
                f'{self.root} holds {_some(extra)}, which nobody asked for: remove it'
            )
        remove_temporaries(self.root)
        if self.codec.sealed and len(files) >= PACKED_FROM:
            self.shards.pack(list(files), self._content, self.path, size=SHARD_SIZE)
        elif self.codec.sealed:
            for key in files:
                flush_file(self.path(key))
        atomic_write_text(self.root / INDEX, _dump(files))
        return self.digest()

    def is_finished(self) -> bool:
        """Tell whether ``finish`` has succeeded and nothing was written since."""
        return (self.root / INDEX).exists()

    def digest(self) -> str:
        """Return the digest of a finished store: its origin and all its files.

        Raises:
            ArtefactError: if the store is not finished.
        """
        content = _read(self.root / MANIFEST) + _read(self.root / INDEX)
        return hashlib.sha256(content).hexdigest()

    def verify(self) -> None:
        """Check each file of a finished store against the index.

        Raises:
            ArtefactError: naming the first file that is missing or changed.
        """
        for key, expected in _load(self.root / INDEX).items():
            if hashlib.sha256(self._content(key)).hexdigest() != expected:
                raise ArtefactError(
                    f'{self._place(key)} has changed since it was made: remove it and '
                    f'{AGAIN}'
                )

    def _content(self, key: str) -> bytes:
        path = self.path(key)
        try:
            return read_plain(path)
        except FileNotFoundError as error:
            packed = self.shards.read(key)
            if packed is None:
                raise ArtefactError(f'{path} is missing: {AGAIN}') from error
            return packed

    def _place(self, key: str) -> str:
        path = self.path(key)
        packed = self.shards.places().get(key)
        return str(path) if path.exists() or not packed else f'{packed.path}, {key},'

    def _decode(self, key: str, content: bytes) -> Value:
        try:
            if self.codec.sealed:
                content = self._unsealed(key, content)
            return self.codec.decode(content)
        except OriginError as error:
            raise ArtefactError(
                f'{self._place(key)} is of another {error} than the rest of '
                f'{self.root}: {AGAIN}'
            ) from error
        except ValueError as error:
            raise ArtefactError(
                f'{self._place(key)} is damaged ({error}): {AGAIN}'
            ) from error

    def _unsealed(self, key: str, content: bytes) -> bytes:
        try:
            return self._seal(key).open(content)
        except (AttributeError, TypeError, RecursionError) as error:
            # its checksum tells nothing of who wrote a seal
            raise ValueError('its seal is none of ours') from error

    def _seal(self, key: str) -> Seal:
        return Seal(self.codec.kind, self.codec.version, key, self.identity)


def shard(keys: Sequence[str], index: int, count: int) -> list[str]:
    """Return the keys that process ``index`` of ``count`` works on.

    Key ``i`` belongs to process ``i`` modulo ``count``.

    Example:
        >>> shard(['a', 'b', 'c'], 0, 2)
        ['a', 'c']
    """
    if not 0 <= index < count:
        raise ValueError(f'index: expected 0 <= index < {count}, got {index}')
    return list(keys[index::count])


def _some(keys: Sequence[str]) -> str:
    more = len(keys) - SHOWN_KEYS
    return ', '.join(keys[:SHOWN_KEYS]) + (f' and {more} more' if more > 0 else '')


def _dump(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + '\n'


def _read(path: Path) -> bytes:
    try:
        return read_plain(path)
    except FileNotFoundError as error:
        raise ArtefactError(f'{path} is missing: {AGAIN}') from error


def _load(path: Path) -> dict[str, Any]:
    content = _read(path)
    try:
        value = parse_json(content)
    except ValueError as error:
        raise ArtefactError(f'{path} is no JSON ({error}): {ELSEWHERE}') from error
    if not isinstance(value, dict):
        raise ArtefactError(f'{path} is no manifest or index: {ELSEWHERE}')
    return value
