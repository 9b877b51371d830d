"""A seal in front of an artefact's bytes: checksum, name and origin.

::

    mmwsss-artefact <sha256 of all that follows>
    {"identity": ..., "key": ..., "kind": ..., "version": ...}
    <the artefact's own bytes>
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

MAGIC = b'mmwsss-artefact'
SHOWN_DIGITS = 12
# 64 bits of each digest tell origins apart; the manifest has them whole
SEALED_DIGITS = 16


class OriginError(ValueError):
    """Sealed bytes are sound and made from something else; the text says what."""


@dataclass(frozen=True)
class Seal:
    """What a seal says of the bytes behind it.

    Args:
        kind: What is stored.
        version: Version of the bytes' layout.
        key: Name of the artefact in its store.
        identity: Name to digest of each thing it is made from.
    """

    kind: str
    version: int
    key: str
    identity: Mapping[str, str]

    def close(self, content: bytes) -> bytes:
        """Return the content behind its seal."""
        header = {**self._name(), 'identity': self._origin()}
        sealed = json.dumps(header, sort_keys=True).encode() + b'\n' + content
        return _first_line(sealed) + b'\n' + sealed

    def open(self, content: bytes) -> bytes:
        """Return what is behind a seal.

        Raises:
            OriginError: if it is made from something else.
            ValueError: if a byte differs from what was sealed, or the seal is of
                another artefact.
        """
        first, _, sealed = content.partition(b'\n')
        if first != _first_line(sealed):
            raise ValueError('cut short or changed, its checksum differs')
        line, _, payload = sealed.partition(b'\n')
        header = json.loads(line)
        change = difference(header.pop('identity', {}), self._origin())
        if change:
            raise OriginError(change)
        if header != self._name():
            raise ValueError(f'it is {header}, expected {self._name()}')
        return payload

    def _name(self) -> dict[str, str | int]:
        return dict(kind=self.kind, version=self.version, key=self.key)

    def _origin(self) -> dict[str, str]:
        return {name: text[:SEALED_DIGITS] for name, text in self.identity.items()}


def difference(found: Mapping[str, str], expected: Mapping[str, str]) -> str:
    """Name the entries of ``expected`` that ``found`` has otherwise, '' if none.

    Example:
        >>> difference({'config': 'ab', 'data set': 'c'}, {'config': 'ff'})
        'config (ab, expected ff)'
    """
    return ', '.join(
        f'{name} ({str(found.get(name))[:SHOWN_DIGITS]}, expected '
        f'{value[:SHOWN_DIGITS]})'
        for name, value in sorted(expected.items())
        if found.get(name) != value
    )


def _first_line(sealed: bytes) -> bytes:
    return MAGIC + b' ' + hashlib.sha256(sealed).hexdigest().encode()
