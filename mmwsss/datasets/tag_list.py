"""Tag lists: one line an image, ``id class class ...``.

A space inside a class name is written as ``_`` and an image without tags as ``id``
or ``id []``. Tags are foreground class indices, counted from 0 without background.
"""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmengine import fileio

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
        DataError: if the list is missing, names an unknown class (file, line and
            the closest known names are told) or an image twice.
    """
    if not fileio.exists(path, backend_args=backend_args):
        raise DataError(f'tag list not found: {path}')
    index = {written_name(name): number for number, name in enumerate(classes)}
    skipped = {written_name(name) for name in unused_classes} | {NO_TAGS}
    tags: dict[str, list[int]] = {}
    text = fileio.get_text(path, backend_args=backend_args)
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
    """Write a tag list by renaming a finished temporary file.

    Args:
        path: The list to write; its folder is made when missing.
        tags: Image id to class indices, in the order of the lines.
        classes: Foreground class names.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for image_id, indices in tags.items():
        names = [written_name(classes[index]) for index in indices] or [NO_TAGS]
        lines.append(' '.join([image_id, *names]))
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    try:
        with os.fdopen(descriptor, 'w') as file:
            file.writelines(f'{line}\n' for line in lines)
        # mkstemp makes the file private; a list is as readable as its folder.
        os.chmod(temporary, path.parent.stat().st_mode & 0o666)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def some_names(names: Sequence[str]) -> str:
    """Return the first names and how many follow, for a message."""
    more = len(names) - NAMES_SHOWN
    return ', '.join(names[:NAMES_SHOWN]) + (f' and {more} more' if more > 0 else '')
