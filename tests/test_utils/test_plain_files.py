"""Links, pipes, devices and files with holes: refused at once, wherever they lead."""

import hashlib
import json
import os
import zlib

import numpy as np
import pytest

from mmwsss.structures import seed_record
from mmwsss.structures.seed_record import SeedCodec, SeedRecord
from mmwsss.utils import artefact_store, plain_files
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.errors import ArtefactError
from mmwsss.utils.plain_files import read_plain

KEYS = ['a', 'folder/b', 'folder/c']
RECORD = SeedRecord(np.ones((1, 2, 2)), (0,), (4, 4), (4, 4), (4, 4), True)


def link(path):
    path.unlink()
    path.symlink_to('/etc/hostname')


def link_that_leads_nowhere(path):
    path.unlink()
    path.symlink_to(path.parent / 'nowhere')


def device(path):
    path.unlink()
    path.symlink_to('/dev/zero')


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def holes(path):
    os.truncate(path, 1 << 40)


STRANGE = [link, device, pipe, holes]


@pytest.fixture
def store(tmp_path):
    store = ArtefactStore.create(tmp_path / 'store', SeedCodec(), {'config': 'c' * 64})
    for key in KEYS:
        store.write(key, RECORD)
    store.finish(KEYS)
    return store


def test_plain_bytes(tmp_path):
    (tmp_path / 'x').write_bytes(b'bytes')
    assert read_plain(tmp_path / 'x') == b'bytes'
    with pytest.raises(FileNotFoundError):
        read_plain(tmp_path / 'y')
    with pytest.raises(ArtefactError, match=f'cannot read {tmp_path}: Is a directory'):
        read_plain(tmp_path)


@pytest.mark.parametrize('change', STRANGE, ids=lambda change: change.__name__)
@pytest.mark.parametrize(
    'name', ['a.seed', 'folder/b.seed', 'manifest.json', 'index.json']
)
def test_strange_files_in_a_store(store, change, name):
    path = store.root / name
    change(path)
    with pytest.raises(
        ArtefactError, match=f'{path} (is a link, a pipe|claims 1099511)'
    ):
        found = ArtefactStore.open(store.root, SeedCodec())
        found.verify()


def test_links_are_refused_even_to_files_of_the_store(store):
    path = store.path('a')
    path.rename(store.root / 'moved')
    path.symlink_to('moved')
    with pytest.raises(ArtefactError, match=r'a\.seed is a link'):
        store.read('a')
    assert store.pending(KEYS) == ['a']
    # a record made anew takes the link's place and leaves what it led to alone
    before = (store.root / 'moved').read_bytes()
    store.write('a', RECORD)
    assert not path.is_symlink() and store.pending(KEYS) == []
    assert (store.root / 'moved').read_bytes() == before


def test_links_to_folders_lead_nothing_out_of_the_store(store, tmp_path):
    outside = tmp_path / 'outside'
    (store.root / 'folder').rename(outside)
    (store.root / 'folder').symlink_to(outside)
    before = {path.name: path.read_bytes() for path in outside.iterdir()}
    for use in (store.read, lambda key: store.write(key, RECORD), store.path):
        with pytest.raises(ArtefactError, match='store/folder is a link, which could'):
            use('folder/b')
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == before


def test_the_store_itself_may_be_a_link(store, tmp_path):
    (tmp_path / 'link').symlink_to(store.root)
    assert ArtefactStore.open(tmp_path / 'link', SeedCodec()).pending(KEYS) == []


@pytest.mark.parametrize('change', [link, pipe], ids=lambda change: change.__name__)
def test_strange_shards(store, monkeypatch, change):
    monkeypatch.setattr(artefact_store, 'PACKED_FROM', 2)
    store.finish(KEYS)
    path = store.root / 'records-00000.shard'
    change(path)
    with pytest.raises(ArtefactError, match=r'records-00000\.shard is a link, a pipe'):
        ArtefactStore.open(store.root, SeedCodec()).read('a')


@pytest.mark.parametrize(
    'table',
    [
        dict(keys=['a', 'b'], lengths=[-8, 8]),
        dict(keys=['a', 'a'], lengths=[0, 0]),
        dict(keys=['a'], lengths=[0, 0]),
        dict(keys=['a'], lengths=[0.0]),
        dict(keys=[1], lengths=[0]),
        dict(keys='a', lengths=[0]),
        dict(keys=['a']),
        [],
        None,
    ],
)
def test_tables_that_somebody_else_wrote(store, table):
    line = json.dumps(table).encode() + b'\n'
    digest = hashlib.sha256(line).hexdigest().encode()
    path = store.root / 'records-00000.shard'
    path.write_bytes(b'mmwsss-shard ' + digest + b'\n' + line)
    store.path('a').unlink()
    with pytest.raises(ArtefactError, match=r'records-00000\.shard is damaged, a may'):
        store.read('a')


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('grid', [1 << 15, 1 << 15], r'2147483648 bytes of maps are more than'),
        ('grid', [1 << 32, 1 << 32], r'36893488147419103232 bytes of maps are more'),
        ('ori_shape', [1 << 20, 1 << 20], r'ori_shape: expected \(H, W\)'),
        ('ori_shape', [float('inf'), 1], 'unknown header'),
        ('classes', '7', 'unknown header'),
        ('align_corners', 'yes', 'unknown header'),
    ],
)
def test_records_that_claim_the_absurd(store, key, value, message):
    """Rightly sealed, and a megabyte of them would inflate to a gigabyte."""
    line, _, packed = SeedCodec().encode(RECORD).partition(b'\n')
    header = json.loads(line) | {key: value}
    if key == 'grid':
        packed = zlib.compress(bytes(1 << 22))
    payload = json.dumps(header).encode() + b'\n' + packed
    store.path('a').write_bytes(store._seal('a').close(payload))
    with pytest.raises(ArtefactError, match=rf'a\.seed is damaged \({message}'):
        store.read('a')


def test_identities_are_texts(store):
    manifest = dict(kind='seeds', version=1, identity=dict(config=5))
    (store.root / 'manifest.json').write_text(json.dumps(manifest))
    with pytest.raises(ArtefactError, match=r'manifest\.json names no identity'):
        ArtefactStore.open(store.root, SeedCodec())


def test_the_limit_is_beyond_what_is_stored(store):
    assert plain_files.MAX_BYTES > seed_record.MAX_BYTES
