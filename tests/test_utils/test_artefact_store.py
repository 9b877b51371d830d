"""The artefact store: what it refuses, what survives, and that bytes are fixed."""

import errno
import json
import os

import pytest

from mmwsss.utils import atomic
from mmwsss.utils.artefact_store import ArtefactStore, shard
from mmwsss.utils.errors import ArtefactError

IDENTITY = {'config': 'c' * 64, 'checkpoint': 'd' * 64, 'data set': 'e' * 64}
KEYS = ['2007_000032', 'a b', 'folder/x.y', 'manifest', 'z']


class TextCodec:
    """Texts as UTF-8 that start with ``#``."""

    kind, version, suffix, sealed = 'texts', 1, '.txt', True

    def encode(self, value):
        return f'#{value}'.encode()

    def decode(self, content):
        text = content.decode()
        if not text.startswith('#'):
            raise ValueError('no # in front')
        return text[1:]


class BareCodec(TextCodec):
    sealed = False


class NewCodec(TextCodec):
    version = 2


class ImageCodec(TextCodec):
    kind = 'labels'


def make(root, keys=KEYS, codec=None, **identity):
    codec = codec or TextCodec()
    store = ArtefactStore.create(root, codec, {**IDENTITY, **identity})
    for key in keys:
        store.write(key, f'value of {key}')
    return store


def contents(root):
    files = sorted(path for path in root.rglob('*') if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize('codec', [TextCodec(), BareCodec()])
def test_round_trip_in_any_order(tmp_path, codec):
    make(tmp_path, codec=codec)
    store = ArtefactStore.open(tmp_path, codec)
    for key in reversed(KEYS):
        assert store.read(key) == f'value of {key}'
    assert store.keys() == sorted(KEYS)


def test_unsealed_files_are_the_codecs_bytes(tmp_path):
    make(tmp_path, codec=BareCodec())
    assert (tmp_path / 'z.txt').read_bytes() == b'#value of z'


@pytest.mark.parametrize('count', [1, 2, 3])
def test_any_number_of_writers_gives_the_same_bytes(tmp_path, count):
    make(tmp_path / 'one', KEYS).finish(KEYS)
    stores = [make(tmp_path / 'many', []) for _ in range(count)]
    for index in reversed(range(count)):
        for key in shard(KEYS, index, count):
            stores[index].write(key, f'value of {key}')
    stores[0].finish(list(reversed(KEYS)))
    assert contents(tmp_path / 'many') == contents(tmp_path / 'one')


def test_shards_are_disjoint_and_cover():
    for count in (1, 2, 3, 7):
        shards = [shard(KEYS, index, count) for index in range(count)]
        assert sorted(sum(shards, [])) == sorted(KEYS)
    assert shard(KEYS, 1, 2) == [KEYS[1], KEYS[3]]
    with pytest.raises(ValueError, match='expected 0 <= index < 2, got 2'):
        shard(KEYS, 2, 2)


def test_restart_skips_what_is_sound(tmp_path):
    store = make(tmp_path, KEYS[:3])
    before = contents(tmp_path)
    again = ArtefactStore.create(tmp_path, TextCodec(), IDENTITY)
    assert again.pending(KEYS) == KEYS[3:]
    path = store.path(KEYS[1])
    path.write_bytes(path.read_bytes()[:-1])
    assert again.pending(KEYS) == [KEYS[1], *KEYS[3:]]
    again.write(KEYS[1], f'value of {KEYS[1]}')
    assert contents(tmp_path) == before


def test_cuts_and_flipped_bytes_are_noticed(tmp_path):
    store = make(tmp_path, ['z'])
    path = store.path('z')
    whole = path.read_bytes()
    torn = [whole[:length] for length in range(0, len(whole), 5)] + [whole + b'x']
    for at in range(0, len(whole), 5):
        torn.append(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    for content in torn:
        path.write_bytes(content)
        with pytest.raises(ArtefactError) as caught:
            store.read('z')
        assert str(path) in str(caught.value)
        assert 'cut short or changed' in str(caught.value)
        assert 'run the command that writes it again' in str(caught.value)


def test_unsealed_damage_is_the_codecs_to_find(tmp_path):
    store = make(tmp_path, codec=BareCodec())
    store.path('z').write_bytes(b'')
    with pytest.raises(ArtefactError, match=r'z\.txt is damaged \(no # in front\)'):
        store.read('z')


def test_missing_file(tmp_path):
    store = make(tmp_path, [])
    with pytest.raises(ArtefactError, match=r'z\.txt is missing: run the command'):
        store.read('z')


def test_unreadable_file(tmp_path):
    store = make(tmp_path, [])
    store.path('z').mkdir()
    with pytest.raises(ArtefactError, match=r'cannot read .*z\.txt'):
        store.read('z')


@pytest.mark.parametrize('name', IDENTITY)
def test_record_of_another_origin(tmp_path, name):
    foreign = make(tmp_path / 'foreign', ['z'], **{name: 'f' * 64})
    store = make(tmp_path / 'store', [])
    store.path('z').write_bytes(foreign.path('z').read_bytes())
    with pytest.raises(ArtefactError, match=rf'z\.txt is of another {name} \(ffff'):
        store.read('z')
    assert store.pending(['z']) == ['z']


@pytest.mark.parametrize(
    ('codec', 'source', 'target'),
    [(TextCodec(), 'z', 'y'), (ImageCodec(), 'z', 'z'), (NewCodec(), 'z', 'z')],
)
def test_record_under_another_name_or_of_another_kind(tmp_path, codec, source, target):
    foreign = make(tmp_path / 'foreign', [source], codec)
    store = make(tmp_path / 'store', [])
    store.path(target).write_bytes(foreign.path(source).read_bytes())
    with pytest.raises(ArtefactError, match=rf'{target}\.txt is damaged \(it is '):
        store.read(target)


@pytest.mark.parametrize('name', IDENTITY)
def test_store_of_another_origin(tmp_path, name):
    make(tmp_path)
    before = contents(tmp_path)
    other = {**IDENTITY, name: 'f' * 64}
    for start in (ArtefactStore.create, ArtefactStore.open):
        with pytest.raises(ArtefactError) as caught:
            start(tmp_path, TextCodec(), other)
        assert f'{tmp_path} holds texts of another {name} (' in str(caught.value)
        assert 'choose another folder or remove this one' in str(caught.value)
    assert contents(tmp_path) == before


def test_reader_may_know_a_part_of_the_origin(tmp_path):
    make(tmp_path)
    part = {'data set': IDENTITY['data set']}
    assert ArtefactStore.open(tmp_path, TextCodec(), part).identity == IDENTITY
    with pytest.raises(ArtefactError, match='asked for'):
        ArtefactStore.create(tmp_path, TextCodec(), part)


@pytest.mark.parametrize('codec', [ImageCodec(), NewCodec()])
def test_store_of_another_kind(tmp_path, codec):
    make(tmp_path)
    with pytest.raises(ArtefactError, match=r'is of texts \(version 1\), expected'):
        ArtefactStore.open(tmp_path, codec)


@pytest.mark.parametrize(
    ('manifest', 'message'),
    [
        (None, r'manifest\.json is missing'),
        ('{', r'manifest\.json is no JSON'),
        ('[]', r'manifest\.json is no manifest'),
        ('{"kind": "texts", "version": 1}', 'names no identity'),
    ],
)
def test_broken_manifest(tmp_path, manifest, message):
    if manifest is not None:
        (tmp_path / 'manifest.json').write_text(manifest)
    with pytest.raises(ArtefactError, match=message):
        ArtefactStore.open(tmp_path, TextCodec())


def test_files_without_a_manifest(tmp_path):
    (tmp_path / 'mine.txt').write_text('')
    with pytest.raises(ArtefactError, match=r'holds \.txt files and no manifest'):
        ArtefactStore.create(tmp_path, TextCodec(), IDENTITY)
    assert list(contents(tmp_path)) == ['mine.txt']


@pytest.mark.parametrize(
    'key',
    ['', '.', '..', '../x', 'a/../x', '/etc/x', 'a//b', 'a/', '.hidden', 'a\\b', 'a\n'],
)
def test_keys_that_lead_elsewhere(tmp_path, key):
    store = make(tmp_path / 'store', [])
    for use in (store.read, lambda key: store.write(key, ''), store.path):
        with pytest.raises(ArtefactError, match='is no name for an artefact'):
            use(key)
    assert list(contents(tmp_path)) == ['store/manifest.json']


def test_finish_writes_checksums(tmp_path):
    store = make(tmp_path)
    assert not store.is_finished()
    with pytest.raises(ArtefactError, match=r'index\.json is missing'):
        store.digest()
    (tmp_path / '.mmwsss-dead-0.tmp').write_bytes(b'left by a killed process')
    digest = store.finish(KEYS)
    assert store.is_finished() and store.digest() == digest
    assert sorted(json.loads((tmp_path / 'index.json').read_text())) == sorted(KEYS)
    assert '.mmwsss-dead-0.tmp' not in contents(tmp_path)
    store.verify()


def test_digest_tells_contents_apart(tmp_path):
    digests = {
        make(tmp_path / 'a').finish(KEYS),
        make(tmp_path / 'b', config='f' * 64).finish(KEYS),
        make(tmp_path / 'c', KEYS[1:]).finish(KEYS[1:]),
    }
    assert len(digests) == 3
    assert make(tmp_path / 'd').finish(KEYS) in digests


def test_finish_refuses_gaps_and_surplus(tmp_path):
    store = make(tmp_path)
    store.path('z').write_bytes(b'')
    with pytest.raises(ArtefactError, match=r'lacks absent, z: run the command'):
        store.finish([*KEYS, 'absent'])
    store.write('z', 'value of z')
    with pytest.raises(ArtefactError, match='holds 2007_000032, which nobody asked'):
        store.finish(KEYS[1:])
    assert not store.is_finished()


def test_change_after_the_end(tmp_path):
    store = make(tmp_path, codec=BareCodec())
    store.finish(KEYS)
    store.path('z').write_bytes(b'#other')
    with pytest.raises(ArtefactError, match=r'z\.txt has changed since it was made'):
        store.verify()
    store.write('z', 'new')
    assert not store.is_finished()


@pytest.mark.parametrize('step', ['fsync', 'replace'])
@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize('action', ['create', 'write', 'finish'])
def test_failed_write_leaves_finished_work(tmp_path, monkeypatch, step, code, action):
    # a sealed file is flushed by finish, one without a seal when it is written
    codec = BareCodec() if action == 'write' else TextCodec()
    store = make(tmp_path, KEYS[:2], codec)
    if action == 'create':
        (tmp_path / 'other').mkdir()
    before = contents(tmp_path)
    actions = {
        'create': lambda: make(tmp_path / 'other', []),
        'write': lambda: store.write(KEYS[2], 'x'),
        'finish': lambda: store.finish(KEYS[:2]),
    }

    def fail(*args):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, step, fail)
        with pytest.raises(ArtefactError, match='cannot write .*finished files'):
            actions[action]()
    assert contents(tmp_path) == before
    actions[action]()
    assert contents(tmp_path) != before
