"""Tags in the files that users have them in: CSV, JSON, JSON lines, text, folders.

A table's tags are class names as written; what they mean is up to the data set.
"""

from __future__ import annotations

import csv
import io
import json
import math
import reprlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from mmengine import fileio
from numpy.typing import NDArray

from mmwsss.datasets.tag_list import NO_TAGS, read_text
from mmwsss.utils.errors import DataError

TAG_SEPARATOR = ';'
ARCHIVE = b'PK'
PATH_HEADS = frozenset({'path', 'image', 'img', 'file', 'filename', 'image_path', 'id'})
TAG_HEADS = frozenset({'tag', 'tags', 'label', 'labels', 'class', 'classes'})


class TagEntry(NamedTuple):
    """One image of a table."""

    place: str
    """Where it is written, for messages."""
    path: str
    """The image's path or id, as ``plain_path`` gives it."""
    names: tuple[str, ...]
    """Class names as written."""


class TagTable(NamedTuple):
    """All images of a file, in its order."""

    entries: tuple[TagEntry, ...]
    classes: tuple[str, ...] | None
    """Class list that the file states."""


def plain_path(path: str) -> str:
    """Return a relative path in one form: slashes, composed letters, no ``./``.

    Example:
        >>> plain_path('.\\\\cats\\\\a b.jpg')
        'cats/a b.jpg'
    """
    path = unicodedata.normalize('NFC', path.strip()).replace('\\', '/')
    return str(PurePosixPath(path)) if path else ''


def read_tag_table(path: str, *, backend_args: dict | None = None) -> TagTable:
    """Read tags by the file's suffix.

    ``.csv`` (``path,tag;tag``) and ``.tsv``, with or without a head line; ``.json``
    (``{path: [tag, ...]}``, a list of ``{"path": ..., "tags": [...]}``, or either
    under ``images`` beside ``classes``); ``.jsonl`` (such an object a line); ``.txt``
    (a tag list, see ``mmwsss.datasets.tag_list``).

    Args:
        path: The file.
        backend_args: mmengine's file backend.

    Raises:
        DataError: if the suffix is unknown, the text is not of its format (file and
            line are told), there is no entry, or an image is listed twice.
    """
    suffix = PurePosixPath(path).suffix.lower()
    if suffix not in READERS:
        raise DataError(
            f'{path}: cannot tell its format; expected a name that ends in '
            f'{", ".join(READERS)} or .npy, or a folder with a folder for each class'
        )
    table = READERS[suffix](path, read_text(path, backend_args=backend_args))
    if not table.entries:
        raise DataError(f'{path} has no entry; write one an image, its path and tags')
    seen: set[str] = set()
    for entry in table.entries:
        if not entry.path:
            raise DataError(f'{entry.place}: no path')
        if entry.path in seen:
            raise DataError(
                f'{entry.place}: {entry.path} is listed twice; give each image one '
                'entry with all its tags'
            )
        seen.add(entry.path)
    return table


def folder_table(
    folder: str, paths: Iterable[str], *, folders: Iterable[str] = ()
) -> TagTable:
    """Return the tags of images that lie in a folder for each class.

    Args:
        folder: The folder, for messages.
        paths: Paths of the images below it.
        folders: Names of the folders in it.

    Raises:
        DataError: if an image lies beside the class folders, or one has no image.
    """
    entries = []
    for path in paths:
        name, _, rest = path.partition('/')
        if not rest:
            raise DataError(
                f'{folder}/{path} lies in no class folder; move it into the folder of '
                'its class'
            )
        entries.append(TagEntry(f'{folder}/{path}', plain_path(path), (name,)))
    classes = sorted({entry.names[0] for entry in entries})
    if empty := sorted(set(folders) - set(classes)):
        raise DataError(
            f'{folder}/{empty[0]} has no image, so nothing could teach that class; '
            'put images there or remove the folder'
        )
    return TagTable(tuple(entries), tuple(classes))


def read_multi_hot(
    path: str, *, images: int, classes: int, backend_args: dict | None = None
) -> NDArray[np.bool_]:
    """Read tags as an array of zeros and ones, a row an image, a column a class.

    Args:
        path: A ``.npy`` file.
        images: Expected rows.
        classes: Expected columns.
        backend_args: mmengine's file backend.

    Returns:
        (images, classes).

    Raises:
        DataError: if it is no such array. Pickled objects are not read, as they can
            run code.
    """
    try:
        content = fileio.get(path, backend_args=backend_args)
    except OSError as error:
        raise DataError(f'cannot read {path}: {error.strerror or error}') from error
    try:
        _check_head(content)
        array = np.load(io.BytesIO(content), allow_pickle=False)
    # bytes at will make NumPy raise at will
    except Exception as error:
        raise DataError(
            f'{path} holds no plain array ({error}); save tags as zeros and ones '
            '(images, classes), or use CSV or JSON'
        ) from error
    if array.shape != (images, classes):
        raise DataError(
            f'{path} has shape {array.shape}, expected ({images}, {classes}): a row an '
            'image (in the order of ann_file, or of sorted paths), a column a class'
        )
    if not np.isin(array, (0, 1)).all():
        raise DataError(f'{path} holds values other than 0 and 1')
    return array.astype(bool)


def _check_head(content: bytes) -> None:
    """Raise ValueError unless the bytes are those of one array of numbers."""
    if content.startswith(ARCHIVE):
        raise ValueError('it is an archive of several')
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read = {1: np.lib.format.read_array_header_1_0}
    shape, _, dtype = read.get(version[0], np.lib.format.read_array_header_2_0)(file)
    if dtype.kind not in 'biuf':
        raise ValueError(f'its type is {dtype}')
    if math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f'its shape is {shape}, its bytes are {len(content)}')


def _read_delimited(path: str, text: str, delimiter: str) -> TagTable:
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True)
    entries = []
    for first, (number, row) in enumerate(_rows(path, reader)):
        if len(row) != 2:
            raise DataError(
                f'{path}, line {number}: expected two columns, path and tags (several '
                f'tags are separated by {TAG_SEPARATOR!r}, a path with a comma is '
                f'quoted), got {len(row)}'
            )
        if first == 0 and _is_head(row):
            continue
        names = (name.strip() for name in row[1].split(TAG_SEPARATOR))
        entries.append(_entry(f'{path}, line {number}', row[0], filter(None, names)))
    return TagTable(tuple(entries), None)


def _rows(path: str, reader: Any) -> Iterator[tuple[int, list[str]]]:
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f'{path}, line {reader.line_num}: no CSV ({error})') from error


def _is_head(row: list[str]) -> bool:
    path, tags = (cell.strip().lower() for cell in row)
    return path in PATH_HEADS and tags in TAG_HEADS


def _read_csv(path: str, text: str) -> TagTable:
    return _read_delimited(path, text, ',')


def _read_tsv(path: str, text: str) -> TagTable:
    return _read_delimited(path, text, '\t')


def _read_json(path: str, text: str) -> TagTable:
    content = _parse(path, text)
    classes = None
    if isinstance(content, dict) and isinstance(content.get('images'), (dict, list)):
        if isinstance(content.get('classes'), list):
            classes = _names(f'{path}, classes', content['classes'])
        if content.keys() <= {'images', 'classes'}:
            content = content['images']
    if isinstance(content, dict):
        pairs = [(f'{path}, {key!r}', key, tags) for key, tags in content.items()]
        entries = [
            _entry(place, key, _names(place, tags)) for place, key, tags in pairs
        ]
    elif isinstance(content, list):
        entries = [
            _item(f'{path}, entry {number}', item)
            for number, item in enumerate(content, start=1)
        ]
    else:
        raise DataError(f'{path}: expected an object or a list of images')
    return TagTable(tuple(entries), classes)


def _read_lines(path: str, text: str) -> TagTable:
    entries = []
    # JSON may hold what Python takes for line ends besides
    for number, line in enumerate(text.split('\n'), start=1):
        if line.strip():
            place = f'{path}, line {number}'
            entries.append(_item(place, _parse(place, line)))
    return TagTable(tuple(entries), None)


def _read_text(path: str, text: str) -> TagTable:
    entries = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            image, *names = line.split()
            names = [name for name in names if name != NO_TAGS]
            entries.append(_entry(f'{path}, line {number}', image, names))
    return TagTable(tuple(entries), None)


def _parse(place: str, text: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            twice = next(key for key, count in counts.items() if count > 1)
            raise DataError(f'{place}: {twice!r} is listed twice')
        return found

    try:
        return json.loads(text, object_pairs_hook=unique)
    except DataError:
        raise
    # a ValueError of a number of thousands of digits, too
    except (ValueError, RecursionError) as error:
        raise DataError(f'{place}: no JSON ({error})') from error


def _item(place: str, item: Any) -> TagEntry:
    if not isinstance(item, dict) or not isinstance(item.get('path'), str):
        raise DataError(f'{place}: expected {{"path": "...", "tags": ["...", ...]}}')
    return _entry(place, item['path'], _names(place, item.get('tags')))


def _names(place: str, names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(
            f'{place}: expected a list of class names, got {reprlib.repr(names)}'
        )
    return tuple(name.strip() for name in names)


def _entry(place: str, path: str, names: Iterable[str]) -> TagEntry:
    return TagEntry(place, plain_path(path), tuple(names))


READERS: dict[str, Callable[[str, str], TagTable]] = {
    '.csv': _read_csv,
    '.tsv': _read_tsv,
    '.json': _read_json,
    '.jsonl': _read_lines,
    '.txt': _read_text,
}
