"""Seed records: values, sizes, bytes and every way they can be wrong."""

import json
import zlib

import numpy as np
import pytest
import torch

from mmwsss.functional.localization import maps_to_image, min_max_normalize
from mmwsss.structures import WSSSDataSample
from mmwsss.structures.seed_record import SeedCodec, SeedRecord, seed_identity
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.errors import ArtefactError, ConfigError

SIZES = dict(input_shape=(64, 96), img_shape=(60, 96), ori_shape=(75, 120))
THRESHOLDS = np.arange(100) / 100


def record(seed=0, classes=(2, 5), **changes):
    random = np.random.default_rng(seed)
    parts = dict(
        maps=random.random((len(classes), 4, 6)),
        classes=classes,
        **SIZES,
        align_corners=True,
    )
    return SeedRecord(**{**parts, **changes})


def weights(value=0.0):
    return {'head.weight': torch.full((2, 3), value)}


def identity(**changes):
    parts = dict(
        config=dict(model='acr'), weights=weights(), classes=['a', 'b'], image_ids=['x']
    )
    return seed_identity(**{**parts, **changes})


def same(first, second):
    return (
        np.array_equal(first.maps, second.maps)
        and first.maps.dtype == second.maps.dtype == np.float16
        and first.classes == second.classes
        and first.geometry() == second.geometry()
    )


@pytest.mark.parametrize('classes', [(), (0,), (2, 5), tuple(range(20))])
@pytest.mark.parametrize('align_corners', [True, False])
def test_round_trip(tmp_path, classes, align_corners):
    value = record(classes=classes, align_corners=align_corners)
    store = ArtefactStore.create(tmp_path, SeedCodec(), identity())
    store.write('2007_000032', value)
    found = ArtefactStore.open(tmp_path, SeedCodec()).read('2007_000032')
    assert same(found, value)
    assert found.maps.shape == (len(classes), 4, 6)
    assert type(found.align_corners) is bool and type(found.ori_shape) is tuple


def test_values_are_the_maps_in_half_precision():
    maps = np.random.default_rng(1).random((2, 3, 5))
    found = SeedCodec().decode(SeedCodec().encode(record(maps=maps)))
    np.testing.assert_array_equal(found.maps, maps.astype(np.float16))
    np.testing.assert_array_equal(found.tensor().numpy(), found.maps.astype('f4'))
    assert found.tensor().dtype == torch.float32


def test_bytes_are_fixed():
    """The layout on disk: a line of JSON, then deflated high and low bytes."""
    maps = np.array([[[0.0, 0.5], [1.0, 0.1]]])
    content = SeedCodec().encode(record(maps=maps, classes=(3,)))
    line, _, packed = content.partition(b'\n')
    assert json.loads(line) == dict(
        classes=[3],
        grid=[2, 2],
        input_shape=[64, 96],
        img_shape=[60, 96],
        ori_shape=[75, 120],
        align_corners=True,
    )
    halves = [0x0000, 0x3800, 0x3C00, 0x2E66]
    expected = bytes(h & 255 for h in halves) + bytes(h >> 8 for h in halves)
    assert zlib.decompress(packed) == expected


def test_steps_are_kept_as_they_are(tmp_path):
    steps = np.arange(24, dtype=np.uint8).reshape(1, 4, 6) * 11
    store = ArtefactStore.create(tmp_path, SeedCodec(), identity())
    store.write('x', record(maps=steps, classes=(3,)))
    found = store.read('x')
    assert found.maps.dtype == np.uint8
    np.testing.assert_array_equal(found.maps, steps)
    expected = [[[k * 11 / 255 for k in range(6 * i, 6 * i + 6)] for i in range(4)]]
    np.testing.assert_allclose(found.tensor(), expected, rtol=1e-7)
    assert found.tensor().dtype == torch.float32
    line, _, packed = SeedCodec().encode(found).partition(b'\n')
    assert json.loads(line)['steps'] == 255
    assert zlib.decompress(packed) == steps.tobytes()


@pytest.mark.parametrize('kind', [np.uint8, np.float16])
def test_classes_without_a_map_get_one_of_zero(kind):
    value = record(maps=np.ones((2, 4, 6), kind), classes=(2, 5))
    found = value.with_classes((1, 2, 3, 5))
    assert found.classes == (1, 2, 3, 5) and found.maps.dtype == kind
    assert found.maps.max((1, 2)).tolist() == [0, 1, 0, 1]
    assert found.geometry() == value.geometry()
    assert same_values(value.with_classes((2, 5)), value)
    empty = record(maps=np.ones((0, 4, 6), kind), classes=())
    assert empty.with_classes((7,)).maps.tolist() == np.zeros((1, 4, 6)).tolist()
    with pytest.raises(ValueError, match=r'\(2, 5\) are not all in \(2, 3\)'):
        value.with_classes((2, 3))


def same_values(first, second):
    return first.classes == second.classes and np.array_equal(first.maps, second.maps)


def test_sample_to_image_and_back():
    generator = torch.Generator().manual_seed(0)
    maps = min_max_normalize(torch.rand(2, 4, 6, generator=generator))
    sample = WSSSDataSample(metainfo=dict(img_shape=(60, 96), ori_shape=(75, 120)))
    sample.set_localization(maps, [2, 5], input_shape=(64, 96), align_corners=True)
    found = SeedCodec().decode(SeedCodec().encode(SeedRecord.from_sample(sample)))
    assert found.classes == (2, 5)
    expected = maps_to_image(maps, **SIZES, align_corners=True)
    image = maps_to_image(found.tensor(), **found.geometry())
    assert image.shape == (2, 75, 120)
    torch.testing.assert_close(image, expected, rtol=0, atol=2e-3)


def test_sample_without_maps_or_sizes():
    with pytest.raises(ConfigError, match='no localization: predict it first'):
        SeedRecord.from_sample(WSSSDataSample())
    sample = WSSSDataSample(metainfo=dict(img_shape=(4, 4)))
    sample.set_localization(
        torch.zeros(1, 2, 2), [0], input_shape=(4, 4), align_corners=False
    )
    with pytest.raises(ConfigError, match='lacks ori_shape: add it to meta_keys'):
        SeedRecord.from_sample(sample)


@pytest.mark.parametrize('power', [1, 2, 4])
def test_precision_keeps_the_miou_at_every_threshold(power):
    """Blurred and noisy discs, from even to very peaked maps, at 100 thresholds."""
    size, grid, generator = 96, 12, torch.Generator().manual_seed(0)
    axis = torch.arange(size) + 0.5
    shape = dict(input_shape=(size, size), img_shape=(size, size))
    counts = {'exact': 0, 'stored': 0}
    for _ in range(40):
        centre = 30 + 36 * torch.rand(2, generator=generator)
        mask = (axis[:, None] - centre[0]).hypot(axis - centre[1]) < 22
        coarse = torch.nn.functional.avg_pool2d(mask[None].float(), size // grid)
        noise = 0.4 * torch.rand(coarse.shape, generator=generator)
        maps = min_max_normalize((coarse + noise) ** power)
        value = SeedRecord(
            maps.numpy(), (0,), **shape, ori_shape=(size, size), align_corners=False
        )
        stored = SeedCodec().decode(SeedCodec().encode(value))
        for name, grid_maps in dict(exact=maps, stored=stored.tensor()).items():
            image = maps_to_image(grid_maps, **stored.geometry())[0].numpy()
            seeds = image > THRESHOLDS[:, None, None]
            both = (seeds & mask.numpy()).sum((1, 2))
            either = (seeds | mask.numpy()).sum((1, 2))
            counts[name] = counts[name] + np.stack([both, either])
    iou = {name: 100 * both / either for name, (both, either) in counts.items()}
    assert np.abs(iou['exact'] - iou['stored']).max() <= 0.1


def test_record_is_compact():
    axis = np.linspace(-1, 1, 24)
    smooth = np.exp(-4 * (axis[:, None] ** 2 + axis**2))
    content = SeedCodec().encode(record(maps=np.stack([smooth, smooth])))
    assert len(content) < 0.75 * 2 * 24 * 24 * 2


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(maps=np.zeros((1, 4, 6))), r'maps: expected shape \(2, h, w\)'),
        (dict(maps=np.zeros((2, 4))), r'maps: expected shape'),
        (dict(maps=np.zeros((2, 0, 6))), r'maps: expected shape'),
        (dict(maps=np.full((2, 4, 6), 1.01)), r'expected values in \[0, 1\]'),
        (dict(maps=np.full((2, 4, 6), -0.1)), r'expected values in \[0, 1\]'),
        (dict(maps=np.full((2, 4, 6), np.nan)), r'expected values in \[0, 1\]'),
        (dict(classes=(5, 2)), 'classes: expected ascending'),
        (dict(classes=(2, 2)), 'classes: expected ascending'),
        (dict(classes=(-1, 2)), 'classes: expected ascending'),
        (dict(ori_shape=(75,)), r'ori_shape: expected \(H, W\)'),
        (dict(ori_shape=(0, 5)), r'ori_shape: expected \(H, W\)'),
        (dict(img_shape=(65, 96)), 'exceeds input_shape'),
    ],
)
def test_parts_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        record(**{'maps': np.zeros((2, 4, 6)), **changes})


def rewritten(**changes):
    line, _, packed = SeedCodec().encode(record()).partition(b'\n')
    header = {**json.loads(line), **changes}
    kept = {name: value for name, value in header.items() if value is not None}
    return json.dumps(kept).encode() + b'\n' + packed


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'\xff\n',
        b'[]\n',
        b'{}\n',
        rewritten(grid=[4, 7]),
        rewritten(grid=[4, 5]),
        rewritten(grid=[0, 6]),
        rewritten(grid=[-4, 6]),
        rewritten(grid='46'),
        rewritten(classes=[2]),
        rewritten(classes=7),
        rewritten(ori_shape=None),
        rewritten(extra=1),
        rewritten(steps=255),
        rewritten(steps=100),
        rewritten() + b'x',
        rewritten()[:-1],
        rewritten().partition(b'\n')[0] + b'\nno deflate',
        SeedCodec().encode(record(classes=()))[:-1],
    ],
)
def test_foreign_bytes(content):
    with pytest.raises(ValueError):
        SeedCodec().decode(content)


def test_cut_record_names_file_and_remedy(tmp_path):
    store = ArtefactStore.create(tmp_path, SeedCodec(), identity())
    path = store.write('x', record())
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ArtefactError) as caught:
        store.read('x')
    assert str(caught.value).startswith(f'{path} is damaged (cut short or changed')
    assert 'run the command that writes it again' in str(caught.value)


@pytest.mark.parametrize(
    ('changes', 'what'),
    [
        (dict(config=dict(model='cam')), 'config'),
        (dict(weights=weights(1.0)), 'checkpoint'),
        (dict(classes=['a', 'c']), 'data set'),
        (dict(image_ids=['x', 'y']), 'data set'),
    ],
)
def test_seeds_of_another_origin(tmp_path, changes, what):
    store = ArtefactStore.create(tmp_path / 'store', SeedCodec(), identity())
    with pytest.raises(ArtefactError, match=f'holds seeds of another {what} '):
        ArtefactStore.open(tmp_path / 'store', SeedCodec(), identity(**changes))
    foreign = ArtefactStore.create(
        tmp_path / 'foreign', SeedCodec(), identity(**changes)
    )
    store.path('x').write_bytes(foreign.write('x', record()).read_bytes())
    with pytest.raises(ArtefactError, match=rf'x\.seed is of another {what} '):
        store.read('x')


def test_identity_is_stable():
    assert identity() == identity(weights=weights(), image_ids=('x',))
    assert list(identity()) == ['config', 'checkpoint', 'data set']
