"""Seals: the bytes as documented, and what opening refuses."""

import hashlib
import json
from dataclasses import replace

import pytest

from mmwsss.utils.sealing import OriginError, Seal, difference

SEAL = Seal('seeds', 1, 'a', {'config': '0123456789abcdef' * 4, 'checkpoint': 'ff'})


def test_bytes():
    first, header, content = SEAL.close(b'line\nline').split(b'\n', 2)
    assert content == b'line\nline'
    assert json.loads(header) == dict(
        kind='seeds',
        version=1,
        key='a',
        identity=dict(config='0123456789abcdef', checkpoint='ff'),
    )
    checksum = hashlib.sha256(header + b'\n' + content).hexdigest()
    assert first == f'mmwsss-artefact {checksum}'.encode()


@pytest.mark.parametrize('content', [b'', b'\n', b'a\nb', bytes(range(256))])
def test_open_gives_what_was_closed(content):
    assert SEAL.open(SEAL.close(content)) == content


@pytest.mark.parametrize('content', [b'', b'\n', b'mmwsss-artefact', b'\xff\n\xff'])
def test_unsealed_bytes(content):
    with pytest.raises(ValueError, match='cut short or changed'):
        SEAL.open(content)


@pytest.mark.parametrize('part', [dict(kind='x'), dict(version=2), dict(key='b')])
def test_seal_of_another_artefact(part):
    with pytest.raises(ValueError, match='it is .* expected ') as caught:
        replace(SEAL, **part).open(SEAL.close(b''))
    assert not isinstance(caught.value, OriginError)


def test_seal_of_another_origin():
    other = replace(SEAL, identity={**SEAL.identity, 'checkpoint': 'ee'})
    with pytest.raises(OriginError, match=r'^checkpoint \(ff, expected ee\)$'):
        other.open(SEAL.close(b''))
    more = replace(SEAL, identity={**SEAL.identity, 'data set': 'dd'})
    with pytest.raises(OriginError, match=r'^data set \(None, expected dd\)$'):
        more.open(SEAL.close(b''))


def test_difference_names_all():
    assert difference({'a': '1', 'b': '2'}, {'b': '2'}) == ''
    text = difference({'a': '1', 'b': '2'}, {'b': '3', 'a': '4'})
    assert text == 'a (1, expected 4), b (2, expected 3)'
