import pytest

from mmwsss.apis import sharing
from mmwsss.apis.sharing import finish_store, share_of_pending
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.errors import ArtefactError


class TextCodec:
    kind, version, suffix, sealed = 'texts', 1, '.text', True

    def encode(self, value):
        return value.encode()

    def decode(self, content):
        return content.decode()


KEYS = list('abcdefg')


@pytest.fixture
def store(tmp_path):
    return ArtefactStore.create(tmp_path, TextCodec(), dict(config='x'))


@pytest.fixture
def process(monkeypatch):
    """Return a function after which this process passes for another; 0 comes first."""
    sent = []

    def broadcast(data):
        if sharing.is_main_process():
            sent[:] = [data[0]]
        data[0] = sent[0]

    def become(rank, count):
        monkeypatch.setattr(sharing, 'get_rank', lambda: rank)
        monkeypatch.setattr(sharing, 'get_world_size', lambda: count)
        monkeypatch.setattr(sharing, 'is_main_process', lambda: rank == 0)

    monkeypatch.setattr(sharing, 'broadcast_object_list', broadcast)
    return become


def test_what_is_missing_is_shared_evenly(store, process):
    for key in 'acdf':
        store.write(key, key)
    store.path('c').write_bytes(b'torn')
    shares = []
    for rank in range(3):
        process(rank, 3)
        shares.append(share_of_pending(store, KEYS))
        # what the first have written meanwhile does not move the others' shares
        for key in shares[-1]:
            store.write(key, key)
    assert shares == [['b', 'g'], ['c'], ['e']]


def test_one_process_alone(store):
    assert share_of_pending(store, KEYS) == KEYS
    for key in KEYS:
        store.write(key, key)
    assert share_of_pending(store, KEYS) == []
    digest = finish_store(store, KEYS)
    assert digest == store.digest() == finish_store(store, KEYS)


def test_only_the_first_process_finishes(store, process):
    for key in KEYS:
        store.write(key, key)
    process(1, 2)
    with pytest.raises(ArtefactError, match='index.json is missing'):
        finish_store(store, KEYS)
    process(0, 2)
    finish_store(store, KEYS)
    assert store.is_finished()


def test_finish_tells_of_a_change(store):
    for key in KEYS:
        store.write(key, key)
    finish_store(store, KEYS)
    store.path('b').write_bytes(store.path('a').read_bytes())
    with pytest.raises(ArtefactError, match=r'b\.text has changed since it was made'):
        finish_store(store, KEYS)
