"""Packed stores: same values, fixed bytes, any stop survived, any damage told."""

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from mmwsss.utils import artefact_store, shards
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.errors import ArtefactError

IDENTITY = {'config': 'c' * 64}
KEYS = [f'{"folder/" if number % 3 else ""}image {number:02}' for number in range(10)]


class TextCodec:
    """Texts of different lengths."""

    kind, version, suffix, sealed = 'texts', 1, '.txt', True

    def encode(self, value):
        return value.encode()

    def decode(self, content):
        return content.decode()


class BareCodec(TextCodec):
    sealed = False


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(artefact_store, 'PACKED_FROM', 8)
    monkeypatch.setattr(artefact_store, 'SHARD_SIZE', 4)


def value_of(key):
    return f'value of {key}' * (1 + len(key) % 5)


def make(root, keys=KEYS, codec=None):
    store = ArtefactStore.create(root, codec or TextCodec(), IDENTITY)
    for key in keys:
        store.write(key, value_of(key))
    return store


@pytest.fixture
def packed(tmp_path):
    store = make(tmp_path / 'store')
    store.finish(KEYS)
    return store


def contents(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob('*'))
    }


def read_all(root, keys):
    store = ArtefactStore.open(root, TextCodec())
    return [store.read(key) for key in keys]


def test_values_keys_and_files(packed):
    names = [f'records-0000{number}.shard' for number in range(3)]
    files = sorted(path.name for path in packed.root.iterdir())
    assert files == ['index.json', 'manifest.json', *names]
    for store in (packed, ArtefactStore.open(packed.root, TextCodec())):
        for key in reversed(KEYS):
            assert store.read(key) == value_of(key)
        assert store.keys() == sorted(KEYS)
        assert store.pending([*KEYS, 'absent']) == ['absent']
        store.verify()


def test_layout(packed):
    """A shard is a checksum, a table and the very bytes of the single files."""
    single = make(packed.root.parent / 'single')
    first, table, rest = (
        (packed.root / 'records-00002.shard').read_bytes().split(b'\n', 2)
    )
    ordered = sorted(KEYS)[8:]
    singles = [single.path(key).read_bytes() for key in ordered]
    assert rest == b''.join(singles)
    assert json.loads(table) == dict(keys=ordered, lengths=[len(s) for s in singles])
    assert first.startswith(b'mmwsss-shard ') and len(first) == 13 + 64


def test_digest_does_not_depend_on_packing(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(artefact_store, 'PACKED_FROM', 100)
    single = make(tmp_path / 'single')
    assert single.finish(KEYS) == packed.digest()
    assert len(list(single.root.rglob('*.txt'))) == len(KEYS)


def test_files_for_other_programs_are_never_packed(tmp_path):
    store = make(tmp_path, codec=BareCodec())
    store.finish(KEYS)
    assert len(list(tmp_path.rglob('*.txt'))) == len(KEYS)


@pytest.mark.parametrize('name', ['write_shard', '_remove', 'remove_file'])
@pytest.mark.parametrize('stop', range(10))
def test_stopped_anywhere_and_resumed_gives_the_same_bytes(
    packed, tmp_path, monkeypatch, name, stop
):
    store = make(tmp_path / 'stopped', sorted(KEYS, reverse=True))
    action, calls = getattr(shards, name), 0

    def stopping(*args):
        nonlocal calls
        calls += 1
        if calls > stop:
            raise KeyboardInterrupt
        return action(*args)

    with monkeypatch.context() as patch:
        patch.setattr(shards, name, stopping)
        try:
            store.finish(KEYS)
        except KeyboardInterrupt:
            assert not store.is_finished()
    again = ArtefactStore.create(store.root, TextCodec(), IDENTITY)
    assert again.pending(KEYS) == []
    assert again.keys() == sorted(KEYS)
    if not again.is_finished():
        again.finish(KEYS)
    assert contents(store.root) == contents(packed.root)


def test_any_byte_that_changes_is_noticed(packed):
    whole = contents(packed.root)
    path = packed.root / 'records-00001.shard'
    content = whole[path.name]
    own = sorted(KEYS)[4:8]
    cases = [content[:at] for at in range(0, len(content), 97)]
    for at in range(0, len(content), 13):
        cases.append(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    for case in [*cases, content + b'x', b'']:
        path.write_bytes(case)
        store = ArtefactStore.create(packed.root, TextCodec(), IDENTITY)
        lost = store.pending(KEYS)
        assert lost and set(lost) <= set(own)
        with pytest.raises(ArtefactError, match=r'records-00001\.shard.* is damaged'):
            store.read(lost[0])
        with pytest.raises(ArtefactError, match='shard'):
            store.verify()
        for key in lost:
            store.write(key, value_of(key))
        assert not store.is_finished()
        assert read_all(packed.root, KEYS) == [value_of(key) for key in KEYS]
        store.finish(KEYS)
        assert contents(packed.root) == whole


def test_a_record_made_anew_counts_at_once(packed):
    other = ArtefactStore.open(packed.root, TextCodec())
    assert other.read(KEYS[0]) == value_of(KEYS[0])
    packed.write(KEYS[0], 'new')
    assert packed.read(KEYS[0]) == other.read(KEYS[0]) == 'new'
    packed.finish(KEYS)
    assert not list(packed.root.rglob('*.txt'))
    assert read_all(packed.root, KEYS[:1]) == ['new']


@pytest.mark.parametrize('stop', range(6))
def test_other_keys_move_between_files(packed, monkeypatch, stop):
    """Keys in front and at the end shift all borders; nothing is lost on the way."""
    added = ['a', 'b', 'zz', 'zzz', 'zzzz']
    for key in added:
        packed.write(key, value_of(key))
    write, calls = shards.write_shard, 0

    def stopping(path, records):
        nonlocal calls
        calls += 1
        if calls > stop:
            raise KeyboardInterrupt
        write(path, records)

    with monkeypatch.context() as patch:
        patch.setattr(shards, 'write_shard', stopping)
        try:
            packed.finish([*KEYS, *added])
        except KeyboardInterrupt:
            assert stop < 4
    every = [*KEYS, *added]
    assert read_all(packed.root, every) == [value_of(key) for key in every]
    packed.finish(every)
    whole = contents(packed.root)
    fresh = make(packed.root.parent / 'fresh', every)
    fresh.finish(every)
    assert whole == contents(fresh.root)


def test_fewer_keys_leave_no_file_behind(packed):
    kept = sorted(KEYS)[:8]
    shards_of = packed.shards
    shards_of.pack(kept, packed._content, packed.path, size=4)
    assert [path.name for path in shards_of.files()] == [
        'records-00000.shard',
        'records-00001.shard',
    ]
    assert sorted(shards_of.places()) == kept


def test_readers_in_several_processes(packed):
    work = [(packed.root, KEYS), (packed.root, KEYS[::-1]), (packed.root, KEYS[3:])]
    with ProcessPoolExecutor(3, mp_context=get_context('fork')) as pool:
        found = list(pool.map(read_all, *zip(*work)))
    assert found == [[value_of(key) for key in keys] for _, keys in work]


def test_a_reader_finds_what_another_process_has_packed(tmp_path):
    store = make(tmp_path)
    reader = ArtefactStore.open(tmp_path, TextCodec())
    assert reader.read(KEYS[0]) == value_of(KEYS[0])
    assert 'absent' not in reader.shards
    store.finish(KEYS)
    assert reader.read(KEYS[0]) == value_of(KEYS[0])


def test_shards_without_a_manifest_and_unreadable_ones(packed):
    path = packed.root / 'records-00000.shard'
    reader = ArtefactStore.open(packed.root, TextCodec())
    reader.keys()
    path.rename(packed.root / 'elsewhere')
    path.mkdir()
    with pytest.raises(ArtefactError, match='cannot read .*00000.shard: Is a dir'):
        reader.read(sorted(KEYS)[0])
    with pytest.raises(ArtefactError, match='cannot read .*00000.shard: Is a dir'):
        ArtefactStore.open(packed.root, TextCodec()).keys()
    (packed.root / 'manifest.json').unlink()
    with pytest.raises(ArtefactError, match=r'files and no manifest\.json'):
        ArtefactStore.create(packed.root, TextCodec(), IDENTITY)
