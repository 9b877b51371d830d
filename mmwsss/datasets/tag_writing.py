"""Tag files, written in the format that their suffix names."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmwsss.datasets.tag_list import in_utf8, tag_line, written_name
from mmwsss.datasets.tag_table import TAG_SEPARATOR, plain_path
from mmwsss.utils.atomic import atomic_write_text
from mmwsss.utils.errors import DataError

Tags = Mapping[str, Sequence[str]]

BREAKS = frozenset('\r\n\0')


def write_tag_table(path: str | Path, tags: Tags, classes: Sequence[str]) -> None:
    """Write a file that ``read_tag_table`` reads.

    Args:
        path: Ends in ``.csv``, ``.tsv``, ``.json``, ``.jsonl`` or ``.txt``.
        tags: Class names by image path or id, in the order of the file.
        classes: All class names, kept where the format has a place for them.

    Raises:
        DataError: if the suffix is another, or a name cannot be written so, that is
            would be read back as another, as several or as none.
        ArtefactError: if the file cannot be written.
    """
    _check_names(path, tags, classes)
    suffix = Path(path).suffix.lower()
    if suffix in ('.csv', '.tsv'):
        text = _delimited(tags, ',' if suffix == '.csv' else '\t')
    elif suffix == '.json':
        content = dict(classes=list(classes), images=_lists(tags))
        text = json.dumps(content, ensure_ascii=False, indent=1) + '\n'
    elif suffix == '.jsonl':
        items = (dict(path=key, tags=names) for key, names in _lists(tags).items())
        text = ''.join(json.dumps(item, ensure_ascii=False) + '\n' for item in items)
    elif suffix == '.txt':
        lines = ((key, list(map(written_name, tags[key]))) for key in tags)
        text = ''.join(tag_line(key, names) for key, names in lines)
    else:
        raise DataError(f'{path}: cannot write tags in this format; use .csv or .json')
    atomic_write_text(path, text)


def _check_names(path: str | Path, tags: Tags, classes: Sequence[str]) -> None:
    paths = [plain_path(key) for key in tags]
    if not all(paths) or len(set(paths)) < len(paths):
        raise DataError(
            f'{path}: two images have one path, or one has none; rename them'
        )
    names = {name for own in tags.values() for name in own} | set(classes)
    odd = [name for name in names if name.strip() != name or not name]
    odd += [text for text in (*tags, *names) if not in_utf8(text)]
    if odd:
        raise DataError(
            f'{path}: {odd[0]!r} is no name for a class or an image; rename what is '
            'empty, begins or ends with a space, or is not UTF-8'
        )


def _lists(tags: Tags) -> dict[str, list[str]]:
    return {key: list(names) for key, names in tags.items()}


def _delimited(tags: Tags, delimiter: str) -> str:
    for key, names in tags.items():
        if odd := [name for name in names if TAG_SEPARATOR in name]:
            raise DataError(
                f'{key}: class {odd[0]!r} has a {TAG_SEPARATOR!r}, which separates '
                'tags in such a file; write .json'
            )
        if odd := [text for text in (key, *names) if BREAKS & set(text)]:
            raise DataError(
                f'{odd[0]!r} has a line break, which ends an entry in such a file; '
                'write .json'
            )
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator='\n')
    writer.writerow(['path', 'tags'])
    writer.writerows((key, TAG_SEPARATOR.join(names)) for key, names in tags.items())
    return buffer.getvalue()
