"""Tag lists: one line an image, ``id class class ...``.

A space inside a class name is written as ``_`` and an image without tags as ``id``
or ``id []``. Tags are foreground class indices, counted from 0 without background.
"""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from mmengine import fileio

from mmwsss.utils.atomic import atomic_write_text
from mmwsss.utils.errors import ConfigError, DataError

NO_TAGS = '[]'
MARK = '\ufeff'
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
        DataError: if it cannot be read or is in another encoding.
    """
    try:
        return fileio.get(path, backend_args=backend_args).decode('utf-8-sig')
    except OSError as error:
        raise DataError(f'cannot read {path}: {error.strerror or error}') from error
    except UnicodeDecodeError as error:
        raise DataError(f'{path} is not in UTF-8 ({error}); save it as UTF-8') from None


def written_name(name: str) -> str:
    """Return a class name as a tag list writes it."""
    return name.replace(' ', '_')


def written_classes(classes: Sequence[str]) -> dict[str, int]:
    """Return the index of each class by its name as a tag list writes it.

    Raises:
        ConfigError: if two classes are written alike.

    Example:
        >>> written_classes(['cat', 'red fox'])
        {'cat': 0, 'red_fox': 1}
    """
    names = [written_name(name) for name in classes]
    if twins := [name for name, count in Counter(names).items() if count > 1]:
        raise ConfigError(
            f'two classes are written {twins[0]!r} in a tag list: rename one of them'
        )
    return {name: number for number, name in enumerate(names)}


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
        ConfigError: if two classes are written alike.
    """
    if not fileio.exists(path, backend_args=backend_args):
        raise DataError(f'tag list not found: {path}')
    index = written_classes(classes)
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
        DataError: if a name would be read back as another or as several.
        ConfigError: if two classes are written alike.
        ArtefactError: if it cannot be written.
    """
    names = list(written_classes(classes))
    lines = []
    for image_id, indices in tags.items():
        lines.append(tag_line(image_id, [names[index] for index in indices]))
    atomic_write_text(os.fspath(path), ''.join(lines))


def tag_line(image_id: str, names: Sequence[str]) -> str:
    """Return the line of an image's id and its classes' names as they are written.

    Raises:
        DataError: if one of them would be read back as another or as several.

    Example:
        >>> tag_line('a/b', ['cat', 'red_fox'])
        'a/b cat red_fox\\n'
    """
    for word in (image_id, *names):
        if word.split() != [word] or word.startswith(MARK) or not in_utf8(word):
            raise DataError(
                f'{word!r} cannot stand in a tag list, where spaces part names and '
                'all is UTF-8: rename it, or keep tags in a .json file'
            )
    if NO_TAGS in names:
        raise DataError(f'a tag list writes {NO_TAGS} for no tags: rename that class')
    return ' '.join([image_id, *(names or [NO_TAGS])]) + '\n'


def in_utf8(text: str) -> bool:
    """Tell whether a text can be written in UTF-8; names of files need not be."""
    try:
        text.encode('utf-8')
    except UnicodeEncodeError:
        return False
    return True


def some_names(names: Sequence[str]) -> str:
    """Return the first names and how many follow, for a message."""
    more = len(names) - NAMES_SHOWN
    return ', '.join(names[:NAMES_SHOWN]) + (f' and {more} more' if more > 0 else '')
