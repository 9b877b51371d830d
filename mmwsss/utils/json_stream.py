"""Large JSON files read one array element at a time.

The file is one object whose large entries are arrays, as annotation files are. Memory
holds a chunk of text and one element, however long the file is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from mmwsss.utils.errors import DataError

CHUNK = 1 << 20
# no entry of an annotation file comes near; a broken file ends here, not at its end
MAX_ELEMENT = 1 << 26
SPACE = ' \t\n\r'
NUMBER_TAIL = len('e+')


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text; whatever is wrong with it is a ValueError.

    Raises:
        ValueError: if it is no JSON, nested too deeply, or has a number of thousands
            of digits.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError('nested too deeply') from error


class Element(NamedTuple):
    """One element of an array in the file.

    Args:
        key: Name of the array in the file's object.
        value: The element. Text beyond ASCII may be wrong here, a character a byte;
            decode ``content`` for it.
        start: Offset of its first byte in the file.
        content: Its bytes.
    """

    key: str
    value: Any
    start: int
    content: bytes


def stream_elements(path: str | Path) -> Iterator[Element]:
    """Yield the elements of all arrays in a file's object, in the file's order.

    Other entries are passed over.

    Args:
        path: A JSON file in UTF-8.

    Raises:
        DataError: if the file is missing, or no object of JSON; the place is named.
    """
    try:
        with open(path, 'rb') as file:
            yield from _elements(_Text(Path(path), file))
    except OSError as error:
        raise DataError(f'cannot read {path}: {error.strerror}') from error


def _elements(text: _Text) -> Iterator[Element]:
    text.expect('{')
    if text.skip('}'):
        return
    while True:
        key = text.key()
        text.expect(':')
        if text.skip('['):
            yield from _array(text, key)
        else:
            text.value_and_content()
        if not text.skip(','):
            return text.expect('}')


def _array(text: _Text, key: str) -> Iterator[Element]:
    if text.skip(']'):
        return
    while True:
        text.peek()
        start = text.offset
        value, content = text.value_and_content()
        yield Element(key, value, start, content)
        if not text.skip(','):
            return text.expect(']')


class _Text:
    """A window on a file, one character a byte, so that places are offsets."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file
        self.window, self.at, self.before = '', 0, 0
        self.ended = False
        self.decode = json.JSONDecoder().raw_decode

    @property
    def offset(self) -> int:
        """Place in the file."""
        return self.before + self.at

    def peek(self) -> str:
        """Return the next character that is no space, '' at the end."""
        while True:
            while self.at < len(self.window) and self.window[self.at] in SPACE:
                self.at += 1
            if self.at < len(self.window):
                return self.window[self.at]
            if not self._more():
                return ''

    def skip(self, character: str) -> bool:
        """Pass over a character if it comes next."""
        found = self.peek() == character
        self.at += found
        return found

    def expect(self, character: str) -> None:
        """Pass over a character; raise DataError if another comes next."""
        if not self.skip(character):
            raise self._broken(f'expected {character!r}')

    def key(self) -> str:
        """Return the name that comes next; raise DataError if it is none."""
        name, _ = self.value_and_content()
        if not isinstance(name, str):
            raise self._broken(f'{name!r} is no name of an entry')
        return name

    def value_and_content(self) -> tuple[Any, bytes]:
        """Return the value that comes next with its bytes, and pass over it."""
        self.peek()
        while True:
            try:
                value, end = self.decode(self.window, self.at)
                # a number may go on in the next chunk
                if end + NUMBER_TAIL < len(self.window) or self.ended:
                    content = self.window[self.at : end].encode('latin-1')
                    self.at = end
                    return value, content
            except json.JSONDecodeError as error:
                if self.ended or len(self.window) - self.at > MAX_ELEMENT:
                    raise self._broken(error.msg) from error
            except (RecursionError, ValueError) as error:
                # nested too deeply, or a number of thousands of digits
                raise self._broken(str(error)) from error
            self._more()

    def _more(self) -> bool:
        """Lengthen the window, by no less than its length; False at the end."""
        rest = self.window[self.at :]
        chunk = self.file.read(max(CHUNK, len(rest)))
        self.before += self.at
        self.window, self.at = rest + chunk.decode('latin-1'), 0
        self.ended = not chunk
        return bool(chunk)

    def _broken(self, reason: str) -> DataError:
        return DataError(
            f'{self.path} is no JSON object at byte {self.offset} ({reason}): get or '
            'unpack the file again'
        )
