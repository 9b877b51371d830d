"""Stored bytes on generated examples: back to the byte, or refused in our words."""

import hashlib
import io
import json
import shutil
import zlib

import numpy as np
import pytest
import torch
from fuzzing import fuzz
from hypothesis import assume, given
from hypothesis import strategies as st

from mmwsss.structures.seed_record import SeedCodec, SeedRecord
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.checkpoint import read_checkpoint
from mmwsss.utils.errors import ArtefactError, CheckpointError, DataError
from mmwsss.utils.json_stream import stream_elements
from mmwsss.utils.label_codec import LabelCodec
from mmwsss.utils.shards import read_table, write_shard

IDENTITY = {'config': 'c' * 64}
SIDES = st.integers(1, 9)
CODEC = SeedCodec()


@st.composite
def records(draw):
    """Records of any shape, of both kinds of values, with 0, 1 and what is least."""
    classes = draw(st.sets(st.integers(0, 300), max_size=4).map(sorted))
    shape = (len(classes), draw(SIDES), draw(SIDES))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        maps = random.integers(0, 256, shape, dtype=np.uint8)
    else:
        # all halves from 0 to 1 are the bit patterns up to that of 1
        bits = random.integers(0, 0x3C01, shape, dtype=np.uint16)
        maps = bits.view(np.float16)
    height, width = draw(st.integers(1, 4000)), draw(st.integers(1, 4000))
    inside = draw(st.integers(1, height)), draw(st.integers(1, width))
    outside = draw(st.integers(1, 16384)), draw(st.integers(1, 16384))
    return SeedRecord(
        maps, tuple(classes), (height, width), inside, outside, draw(st.booleans())
    )


@fuzz()
@given(record=records())
def test_seed_records_come_back_to_the_bit(record):
    content = CODEC.encode(record)
    found = CODEC.decode(content)
    assert found.maps.dtype == record.maps.dtype
    assert found.maps.tobytes() == record.maps.tobytes()
    assert found.maps.shape == record.maps.shape
    assert found.classes == record.classes and found.geometry() == record.geometry()
    assert CODEC.encode(found) == content


def only_value_errors(decode, content):
    try:
        return decode(content)
    except ValueError as error:
        assert str(error)
    return None


def altered(draw, content):
    """Cut, repeat or change bytes at will."""
    at = draw(st.integers(0, len(content)))
    kind = draw(st.sampled_from(['cut', 'change', 'insert']))
    if kind == 'cut':
        return content[:at]
    more = draw(st.binary(min_size=1, max_size=4))
    return content[:at] + more + content[at + len(more) * (kind == 'change') :]


@fuzz()
@given(data=st.data())
def test_any_bytes_as_a_seed_record(data):
    whole = CODEC.encode(data.draw(records()))
    for content in (data.draw(st.binary(max_size=80)), altered(data.draw, whole)):
        only_value_errors(CODEC.decode, content)


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 2**70),
        st.floats(),
        st.text(max_size=3),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner)
    ),
    max_leaves=6,
)
HEADER = ('classes', 'grid', 'input_shape', 'img_shape', 'ori_shape', 'align_corners')


@fuzz()
@given(
    record=records(),
    changes=st.dictionaries(st.sampled_from((*HEADER, 'steps', 'more')), VALUES),
    lost=st.sets(st.sampled_from(HEADER), max_size=1),
)
def test_any_header_of_a_seed_record(record, changes, lost):
    line, _, packed = CODEC.encode(record).partition(b'\n')
    header = {**json.loads(line), **changes}
    header = {name: value for name, value in header.items() if name not in lost}
    found = only_value_errors(
        CODEC.decode, json.dumps(header).encode() + b'\n' + packed
    )
    if found is not None:
        assert CODEC.encode(CODEC.decode(CODEC.encode(found))) == CODEC.encode(found)


@fuzz()
@given(
    records=st.dictionaries(
        st.text(st.characters(exclude_categories=('Cs',)), max_size=6),
        st.binary(max_size=30),
        max_size=5,
    )
)
def test_shards_come_back_to_the_byte(tmp_path, records):
    path = tmp_path / 'records-00000.shard'
    write_shard(path, records)
    content = path.read_bytes()
    places = read_table(path)
    assert list(places) == list(records)
    for key, place in places.items():
        found = content[place.start : place.start + place.length]
        assert found == records[key]


@fuzz()
@given(keys=VALUES, lengths=VALUES, body=st.binary(max_size=20), data=st.data())
def test_any_table_under_a_sound_checksum(tmp_path, keys, lengths, body, data):
    """A stranger can compute checksums as well."""
    table = data.draw(
        st.sampled_from([dict(keys=keys, lengths=lengths), keys, [keys, lengths]])
    )
    path = tmp_path / 'records-00000.shard'
    line = json.dumps(table).encode() + b'\n'
    digest = hashlib.sha256(line).hexdigest().encode()
    path.write_bytes(b'mmwsss-shard ' + digest + b'\n' + line + body)
    places = only_value_errors(read_table, path) or {}
    end = path.stat().st_size
    assert all(0 < p.start <= p.start + p.length <= end for p in places.values())
    path.write_bytes(body)
    assert only_value_errors(read_table, path) is None


def store_of(folder, codec=CODEC):
    shutil.rmtree(folder, ignore_errors=True)
    return ArtefactStore.create(folder, codec, IDENTITY)


def only_our_errors(use, *arguments):
    try:
        return use(*arguments)
    except ArtefactError as error:
        assert str(error)
    return None


@fuzz()
@given(
    manifest=st.one_of(
        VALUES,
        st.fixed_dictionaries(
            dict(kind=st.just('seeds'), version=st.just(1), identity=VALUES)
        ),
    ),
    index=VALUES,
)
def test_any_manifest_and_index(tmp_path, manifest, index):
    store_of(tmp_path / 'store')
    (tmp_path / 'store/manifest.json').write_text(json.dumps(manifest))
    (tmp_path / 'store/index.json').write_text(json.dumps(index))
    store = only_our_errors(ArtefactStore.open, tmp_path / 'store', CODEC)
    if store is not None:
        only_our_errors(store.read, 'x')
        only_our_errors(store.verify)


@fuzz()
@given(
    header=st.one_of(
        VALUES,
        st.fixed_dictionaries(
            {'kind': st.just('seeds'), 'key': st.just('x'), 'version': st.just(1)},
            optional={'identity': VALUES, 'more': VALUES},
        ),
    ),
    payload=st.binary(max_size=20),
)
def test_any_seal_under_a_sound_checksum(tmp_path, header, payload):
    store = store_of(tmp_path / 'store')
    sealed = json.dumps(header).encode() + b'\n' + payload
    first = b'mmwsss-artefact ' + hashlib.sha256(sealed).hexdigest().encode()
    store.path('x').write_bytes(first + b'\n' + sealed)
    assert only_our_errors(store.read, 'x') is None
    assert store.pending(['x']) == ['x']


PARTS = st.sampled_from(
    ['..', '.', '', '~', 'a', 'b.c', ' ', '\\', '\0', '\n', '\ud800']
)
KEYS = st.one_of(
    st.lists(st.one_of(PARTS, st.just('/')), max_size=6).map(''.join),
    st.text(max_size=6),
    st.integers(200, 300).map(lambda n: 'x' * n),
)


@fuzz(80)
@given(key=KEYS)
def test_any_key_stays_in_the_store_or_is_refused(tmp_path, key):
    store = store_of(tmp_path / 'store')
    record = SeedRecord(np.ones((1, 1, 1)), (0,), (1, 1), (1, 1), (1, 1), True)
    path = only_our_errors(store.write, key, record)
    if path is None:
        assert only_our_errors(store.read, key) is None
    else:
        inside = (tmp_path / 'store').resolve()
        assert inside in path.resolve().parents and path.is_file()
        assert store.read(key).classes == (0,)
        assert store.keys() == [key]
    assert [entry.name for entry in tmp_path.iterdir()] == ['store']


@fuzz()
@given(data=st.data())
def test_any_bytes_as_a_label(data):
    codec = LabelCodec([(0, 0, 0), (1, 2, 3), (4, 5, 6)])
    shape = data.draw(SIDES), data.draw(SIDES)
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    value = random.choice(np.array([0, 1, 2, 255], np.uint8), shape)
    whole = codec.encode(value)
    np.testing.assert_array_equal(codec.decode(whole), value)
    for content in (data.draw(st.binary(max_size=60)), altered(data.draw, whole)):
        found = only_value_errors(codec.decode, content)
        assert found is None or content == whole or (found == value).all()


def chunks_of(content):
    """Return the places and lengths of a PNG's chunks."""
    at = 8
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], 'big')
        yield at, length
        at += 12 + length


@fuzz()
@given(data=st.data())
def test_any_chunk_of_a_label_under_a_sound_checksum(data):
    codec = LabelCodec([(0, 0, 0), (1, 2, 3)])
    content = codec.encode(np.ones((3, 4), np.uint8))
    at, length = data.draw(st.sampled_from(list(chunks_of(content))))
    assume(length)
    place = at + 8 + data.draw(st.integers(0, length - 1))
    value = data.draw(st.integers(0, 255))
    content = content[:place] + bytes([value]) + content[place + 1 :]
    checksum = zlib.crc32(content[at + 4 : at + 8 + length]).to_bytes(4, 'big')
    end = at + 8 + length
    only_value_errors(codec.decode, content[:end] + checksum + content[end + 4 :])


@pytest.fixture(scope='module')
def checkpoints():
    """A checkpoint in both formats of torch."""
    contents = []
    for new in (True, False):
        buffer = io.BytesIO()
        state = {'a.weight': torch.arange(6.0).view(2, 3), 'a.bias': torch.ones(2)}
        content = dict(meta=dict(epoch=1, seed=np.int64(3)), state_dict=state)
        torch.save(content, buffer, _use_new_zipfile_serialization=new)
        contents.append(buffer.getvalue())
    return contents


@fuzz()
@given(data=st.data())
def test_any_bytes_as_a_checkpoint(tmp_path, checkpoints, data):
    path = tmp_path / 'x.pth'
    whole = data.draw(st.sampled_from(checkpoints))
    for content in (altered(data.draw, whole), data.draw(st.binary(max_size=60))):
        path.write_bytes(content)
        try:
            assert isinstance(read_checkpoint(path), dict)
        except CheckpointError as error:
            assert str(path) in str(error)


@fuzz()
@given(
    content=st.one_of(
        st.binary(max_size=40), VALUES.map(lambda v: json.dumps(v).encode())
    )
)
def test_any_bytes_as_streamed_json(tmp_path, content):
    path = tmp_path / 'x.json'
    path.write_bytes(content)
    try:
        found = list(stream_elements(path))
    except DataError as error:
        assert str(path) in str(error)
    else:
        try:
            whole = json.loads(content)
        except ValueError:
            return  # what follows the object is not read
        lists = {key: value for key, value in whole.items() if isinstance(value, list)}
        counts = {key: sum(e.key == key for e in found) for key in lists}
        assert counts == {key: len(value) for key, value in lists.items()}
