"""Seeds to the field's dictionaries and back, and what is refused."""

import importlib.util
import io
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmwsss.apis.seed_exchange import (
    export_seeds,
    import_seeds,
    info_of,
    read_dictionary,
)
from mmwsss.structures.seed_record import SeedCodec, SeedRecord
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.errors import ArtefactError, DataError

PATH = Path(__file__).parents[2] / 'tools/analysis/seed_store.py'
SIZE = (30, 40)


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('seed_store', PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def record(classes, seed=0, kind=np.float16):
    maps = np.random.default_rng(seed).random((len(classes), 6, 8))
    maps = (255 * maps).astype(np.uint8) if kind is np.uint8 else maps
    return SeedRecord(maps, classes, (96, 128), (96, 128), SIZE, True)


RECORDS = {'a': record((2, 5)), 'b/c': record((0,), 1, np.uint8), 'd': record((7,), 2)}


@pytest.fixture
def store(tmp_path):
    store = ArtefactStore.create(tmp_path / 'store', SeedCodec(), dict(config='c'))
    for name, value in RECORDS.items():
        store.write(name, value)
    store.finish(list(RECORDS))
    return store


def as_the_field_reads(path):
    return np.load(path, allow_pickle=True).item()


def expected(value):
    """Up-sample in float64 and normalize, without the product's functions."""
    maps = torch.from_numpy(value.maps.astype(np.float64))[None]
    maps = torch.nn.functional.interpolate(
        maps, SIZE, mode='bilinear', align_corners=True
    )[0]
    low, high = maps.amin((1, 2), True), maps.amax((1, 2), True)
    scale = 255 if value.maps.dtype == np.uint8 else 1
    return ((maps - low) / (high - low + scale * 1e-6)).numpy()


def test_export_is_what_the_field_reads(store, tmp_path):
    assert export_seeds(store, tmp_path / 'npy') == 3
    for name, value in RECORDS.items():
        found = as_the_field_reads(tmp_path / f'npy/{name}.npy')
        assert tuple(found) == value.classes
        assert all(m.dtype == np.float32 and m.shape == SIZE for m in found.values())
        maps = np.stack(list(found.values()))
        np.testing.assert_allclose(maps, expected(value), atol=2e-6)
        read = read_dictionary(tmp_path / f'npy/{name}.npy')
        assert all(np.array_equal(read[key], found[key]) for key in found)


def test_there_and_back(store, tmp_path):
    export_seeds(store, tmp_path / 'npy')
    back = import_seeds(tmp_path / 'npy', tmp_path / 'back')
    assert back.is_finished() and back.keys() == sorted(RECORDS)
    for name in RECORDS:
        written = as_the_field_reads(tmp_path / f'npy/{name}.npy')
        found = back.read(name)
        assert found.classes == tuple(written) and found.ori_shape == SIZE
        maps = np.stack(list(written.values()))
        np.testing.assert_array_equal(found.maps, maps.astype(np.float16))
    export_seeds(back, tmp_path / 'again')
    for name in RECORDS:
        first = as_the_field_reads(tmp_path / f'npy/{name}.npy')
        second = as_the_field_reads(tmp_path / f'again/{name}.npy')
        for key in first:
            np.testing.assert_allclose(second[key], first[key], atol=1e-3)


def test_stopped_import_goes_on_and_gives_the_same(store, tmp_path, monkeypatch):
    export_seeds(store, tmp_path / 'npy')
    digest = import_seeds(tmp_path / 'npy', tmp_path / 'whole').digest()
    write, calls = ArtefactStore.write, []

    def stopping(self, key, value):
        calls.append(key)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return write(self, key, value)

    monkeypatch.setattr(ArtefactStore, 'write', stopping)
    with pytest.raises(KeyboardInterrupt):
        import_seeds(tmp_path / 'npy', tmp_path / 'stopped')
    assert import_seeds(tmp_path / 'npy', tmp_path / 'stopped').digest() == digest
    assert len(calls) == 4
    np.save(tmp_path / 'npy/a.npy', {1: np.zeros(SIZE)})
    with pytest.raises(ArtefactError, match='seeds of another dictionaries'):
        import_seeds(tmp_path / 'npy', tmp_path / 'stopped')


@pytest.mark.parametrize('version', [2, 3, 4, 5])
@pytest.mark.parametrize('key', [3, np.int64(3), np.uint8(3)])
def test_pickles_of_any_generation(tmp_path, version, key):
    maps = np.random.default_rng(0).random(SIZE)
    path = tmp_path / 'x.npy'
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, dict(descr='|O', fortran_order=False, shape=())
    )
    value = np.array({key: maps, 0: maps.astype('f4').T.copy().T}, dtype=object)
    content.write(pickle.dumps(value, protocol=version))
    path.write_bytes(content.getvalue())
    found = read_dictionary(path)
    assert list(found) == [0, 3] and type(list(found)[1]) is int
    np.testing.assert_array_equal(found[3], maps.astype(np.float32))


class Danger:
    def __reduce__(self):
        return os.mkdir, ('/tmp/never made',)


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        ({0: Danger()}, r'it holds \w+\.mkdir, no array'),
        ({'person': np.zeros(SIZE)}, "'person' is no class index"),
        ({-1: np.zeros(SIZE)}, '-1 is no class index'),
        ({True: np.zeros(SIZE)}, 'True is no class index'),
        ({0: np.zeros(SIZE), 1: np.zeros((4, 5))}, r'maps of shapes \[\(4, 5\), \(30'),
        ({0: np.zeros(5)}, r'maps of shapes \[\(5,\)\]'),
        ({0: 'x'}, 'could not convert'),
        ([1, 2], 'an array of shape'),
        (np.zeros(SIZE), 'an array of shape'),
        (None, 'a NoneType'),
    ],
)
def test_other_content(tmp_path, value, message):
    np.save(tmp_path / 'x.npy', value, allow_pickle=True)
    with pytest.raises(DataError, match=message) as caught:
        read_dictionary(tmp_path / 'x.npy')
    assert str(tmp_path / 'x.npy') in str(caught.value)
    assert not Path('/tmp/never made').exists()


def test_cut_missing_and_no_files(tmp_path):
    path = tmp_path / 'x.npy'
    np.save(path, {0: np.zeros(SIZE)}, allow_pickle=True)
    content = path.read_bytes()
    for length in (0, 5, 60, 200, len(content) - 3):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match='is no dictionary of maps'):
            read_dictionary(path)
    path.write_bytes(b'\x93NUMPY\x09' + content[7:])
    with pytest.raises(DataError, match='is no dictionary of maps'):
        read_dictionary(path)
    path.unlink()
    with pytest.raises(DataError, match='x.npy is missing'):
        read_dictionary(path)
    with pytest.raises(DataError, match='has no .npy file'):
        import_seeds(tmp_path, tmp_path / 'store')


@pytest.mark.parametrize(
    ('maps', 'message'),
    [
        ({0: np.full(SIZE, 1.5)}, r'x.npy cannot be stored: .*values in \[0, 1\]'),
        ({}, 'it has no map; tell the size of its image by --images'),
    ],
)
def test_maps_that_are_no_seeds(tmp_path, maps, message):
    (tmp_path / 'npy').mkdir()
    np.save(tmp_path / 'npy/x.npy', maps, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        import_seeds(tmp_path / 'npy', tmp_path / 'store')


def test_info(store):
    found = info_of(store)
    assert found['records'] == 3 and found['files'] == 5 and found['shards'] == 0
    assert found['maps_by_class'] == {'0': 1, '2': 1, '5': 1, '7': 1}
    assert found['grids'] == {'6x8 float16': 2, '6x8 uint8': 1}
    assert found['identity'] == dict(config='c') and found['finished']


def test_tool(tool, store, tmp_path, capsys):
    tool.main(['info', str(store.root)])
    assert json.loads(capsys.readouterr().out)['records'] == 3
    tool.main(['verify', str(store.root)])
    assert f'3 records are sound, digest {store.digest()}' in capsys.readouterr().out
    tool.main(['export', str(store.root), str(tmp_path / 'npy')])
    tool.main(['import', str(tmp_path / 'npy'), str(tmp_path / 'back')])
    out = capsys.readouterr().out
    assert 'npy: 3 dictionaries' in out and 'back: 3 records' in out
    store.write('a', RECORDS['d'])
    tool.main(['verify', str(store.root)])
    assert 'the store is not finished' in capsys.readouterr().out
    path = store.path('a')
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtefactError, match=r'a\.seed is damaged'):
        tool.main(['verify', str(store.root)])


def test_small_maps_take_the_size_of_their_image(tool, tmp_path, capsys):
    (tmp_path / 'npy').mkdir()
    (tmp_path / 'images').mkdir()
    np.save(tmp_path / 'npy/a [1].npy', {4: np.eye(5)}, allow_pickle=True)
    np.save(tmp_path / 'npy/b.npy', {}, allow_pickle=True)
    Image.new('RGB', (40, 30)).save(tmp_path / 'images/a [1].jpg')
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (40, 30)).save(tmp_path / 'images/b.jpg', exif=exif)
    places = ['import', str(tmp_path / 'npy'), str(tmp_path / 'store'), '--images']
    tool.main([*places, str(tmp_path / 'images')])
    store = ArtefactStore.open(tmp_path / 'store', SeedCodec())
    assert store.read('a [1]').ori_shape == (30, 40)
    assert store.read('a [1]').maps.shape == (1, 5, 5)
    assert store.read('b').ori_shape == (40, 30) and store.read('b').classes == ()
    (tmp_path / 'images/b.png').write_bytes(b'')
    places[2] = str(tmp_path / 'other')
    with pytest.raises(DataError, match='has 2 images b'):
        tool.main([*places, str(tmp_path / 'images')])
    (tmp_path / 'images/b.jpg').unlink()
    with pytest.raises(DataError, match='image cannot be read: .*b.png'):
        tool.main([*places, str(tmp_path / 'images')])
    with pytest.raises(DataError, match='absent does not exist; set --images'):
        tool.main([*places, str(tmp_path / 'absent')])
