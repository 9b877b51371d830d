"""Tag lists: one line an image, ``id class class ...``.

A space inside a class name is written as ``_`` and an image without tags as ``id``
or ``id []``. Tags are foreground class indices, counted from 0 without background.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence

from mmengine import fileio

from mmwsss.utils.atomic import atomic_write_text
from mmwsss.utils.errors import ConfigError, DataError

NO_TAGS = '[]'
BACKGROUND = 'background'
NAMES_SHOWN = 3


def foreground_classes(metainfo: Mapping) -> tuple[str, ...]:
    """Return a data set's class names without the background.

    Args:
        metainfo: Metainfo of an mmseg data set; ``classes`` starts with
            ``'background'``.

    Raises:
        ConfigError: if there are no classes or the first is not the background.
    """
    classes = tuple(metainfo.get('classes') or ())
    if len(classes) < 2 or classes[0] != BACKGROUND:
        raise ConfigError(
            f'metainfo.classes must start with {BACKGROUND!r} and name at least one '
            f'more class, got {classes}'
        )
    return classes[1:]


def read_text(path: str | os.PathLike, *, backend_args: dict | None = None) -> str:
    """Read a text file in UTF-8, with or without a byte order mark.

    Raises:
        DataError: if it is in another encoding.
    """
    content = fileio.get(path, backend_args=backend_args)
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise DataError(f'{path} is not in UTF-8 ({error}); save it as UTF-8') from None


def written_name(name: str) -> str:
    """Return a class name as a tag list writes it."""
    return name.replace(' ', '_')


def read_tag_list(
    path: str | os.PathLike,
    classes: Sequence[str],
    *,
    unused_classes: Iterable[str] = (),
    backend_args: dict | None = None,
) -> dict[str, list[int]]:
    """Read a tag list.

    Args:
        path: The list.
        classes: Foreground class names; a tag becomes its index here.
        unused_classes: Names that may occur and are left out.
        backend_args: mmengine's file backend.

    Returns:
        Image id to its class indices, ascending, without repeats.

    Raises:
        DataError: if the list is missing or not in UTF-8, names an unknown class
            (file, line and the closest known names are told) or an image twice.
    """
    if not fileio.exists(path, backend_args=backend_args):
        raise DataError(f'tag list not found: {path}')
    index = {written_name(name): number for number, name in enumerate(classes)}
    skipped = {written_name(name) for name in unused_classes} | {NO_TAGS}
    tags: dict[str, list[int]] = {}
    text = read_text(path, backend_args=backend_args)
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        image_id, *names = line.split()
        if image_id in tags:
            raise DataError(f'{path}, line {number}: {image_id} is listed twice')
        used = set(names) - skipped
        if not used <= index.keys():
            unknown = next(name for name in names if name in used - index.keys())
            raise DataError(unknown_class(f'{path}, line {number}', unknown, index))
        tags[image_id] = sorted(index[name] for name in used)
    return tags


def unknown_class(place: str, name: str, known: Iterable[str]) -> str:
    """Return the message about a class that is not known, with names close to it."""
    lowered = {written.lower(): written for written in known}
    close = difflib.get_close_matches(name.lower(), lowered, n=NAMES_SHOWN)
    names = [lowered[match] for match in close] or list(lowered.values())
    intro = 'the closest known names are' if close else 'known names are'
    return f'{place}: unknown class {name!r}; {intro} {", ".join(names)}'


def write_tag_list(
    path: str | os.PathLike, tags: Mapping[str, Sequence[int]], classes: Sequence[str]
) -> None:
    """Write a tag list, which appears whole or not at all.

    Args:
        path: The list to write; its folder is made when missing.
        tags: Image id to class indices, in the order of the lines.
        classes: Foreground class names.

    Raises:
        ArtefactError: if it cannot be written.
    """
    lines = []
    for image_id, indices in tags.items():
        names = [written_name(classes[index]) for index in indices] or [NO_TAGS]
        lines.append(' '.join([image_id, *names]) + '\n')
    atomic_write_text(os.fspath(path), ''.join(lines))


def some_names(names: Sequence[str]) -> str:
    """Return the first names and how many follow, for a message."""
    more = len(names) - NAMES_SHOWN
    return ', '.join(names[:NAMES_SHOWN]) + (f' and {more} more' if more > 0 else '')
