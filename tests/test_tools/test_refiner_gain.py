"""Seeds degraded on purpose, the search of settings, and the table of gains."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from mmwsss.apis.pseudo_labels import label_image
from mmwsss.refiners import ThresholdRefiner
from mmwsss.utils.errors import ArtefactError, ConfigError

FOLDER = Path(__file__).parents[2] / 'tools/analysis'


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr('mmengine.dataset.base_dataset.gc.collect', lambda: 0)
    monkeypatch.syspath_prepend(FOLDER)
    yield
    torch.set_num_threads(threads)


def tool(name):
    return importlib.import_module(name)


@pytest.fixture
def run(monkeypatch, tmp_path, capsys, voc_root):
    """Run refiner_gain on the small VOC tree; return its report, or its error line."""

    def run(*arguments, jobs=1):
        gain = tool('refiner_gain')
        places = ['--work-dir', tmp_path / 'work', '--out', tmp_path / 'table']
        lists = ['--tune', 'train', '--test', 'val', '--cells', '10']
        argv = [voc_root, *lists, *places, '--jobs', jobs, *arguments]
        monkeypatch.setattr(sys, 'argv', ['refiner_gain.py', *map(str, argv)])
        gain.main()
        return json.loads((tmp_path / 'table.json').read_text())

    return run


# --------------------------------------------------------------------- degradation

KERNEL = np.array([1, 2, 1]) / 4


def blurred(plane, steps):
    for _ in range(steps):
        for axis in (0, 1):
            plane = ndimage.convolve1d(plane, KERNEL, axis=axis, mode='nearest')
    return plane


def stretched(plane):
    return (plane - plane.min()) / (plane.max() - plane.min() + 1e-6)


def cell_shares(mask, cells):
    """Share of each cell in the mask; the grid divides the image."""
    side = max(mask.shape) // cells
    rows, columns = (length // side for length in mask.shape)
    return mask.reshape(rows, side, columns, side).mean((1, 3))


def expected_map(mask, key, how):
    """The formula, in float64 with the same draws."""
    generator = tool('degraded_seeds').counted_generator(*key)
    share = cell_shares(mask.astype(float), how.cells)
    inner = blurred(share, 1)
    weights = torch.from_numpy(inner**2).flatten() + 1e-12
    peak = int(torch.multinomial(weights, 1, generator=generator))
    noise = torch.randn(share.shape, generator=generator).double().numpy()
    noise = blurred(noise, 2)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    reach = how.reach * share.sum() ** 0.5
    found = np.empty_like(share)
    halo = blurred(share, how.halo)
    for row, column in np.ndindex(share.shape):
        offset = row - peak // share.shape[1], column - peak % share.shape[1]
        near = np.exp(-(offset[0] ** 2 + offset[1] ** 2) / (2 * reach**2))
        value = inner[row, column] * (1 - how.strength * how.dim * (1 - near))
        value += how.strength * how.leak * halo[row, column]
        value += how.strength * how.noise * noise[row, column]
        found[row, column] = max(0.0, value)
    return stretched(found)


@pytest.fixture
def mask():
    plane = np.zeros((40, 60), bool)
    plane[8:30, 10:41] = True
    plane[20:, 30:] = True
    return plane


@pytest.mark.parametrize('strength', [0.3, 1.0])
def test_map_is_that_of_the_formula(mask, strength):
    seeds = tool('degraded_seeds')
    how = seeds.Degradation(cells=12, strength=strength)
    generator = seeds.counted_generator(5, 6)
    found = seeds.degrade(torch.from_numpy(mask), generator, how)
    assert found.shape == (8, 12)
    np.testing.assert_allclose(found, expected_map(mask, (5, 6), how), atol=2e-5)


def test_without_strength_the_averages_are_left(mask):
    seeds = tool('degraded_seeds')
    how = seeds.Degradation(cells=12, strength=0)
    found = seeds.degrade(torch.from_numpy(mask), torch.Generator(), how)
    np.testing.assert_allclose(found, stretched(cell_shares(mask, 12)), atol=1e-6)


def test_draws_belong_to_image_class_and_seed(mask):
    seeds = tool('degraded_seeds')
    plane = torch.from_numpy(mask).long() * 3
    how = seeds.Degradation(cells=12)
    record = seeds.degraded_record(plane, 'a', how)
    assert (record.classes, record.ori_shape) == ((2,), (40, 60))
    again = seeds.degraded_record(plane, 'a', how)
    assert (record.maps == again.maps).all()
    both = plane.clone()
    both[:6, :6] = 1
    beside = seeds.degraded_record(both, 'a', how)
    assert beside.classes == (0, 2)
    assert (beside.maps[1] == record.maps[0]).all()
    others = [('b', how), ('a', seeds.Degradation(cells=12, seed=1))]
    for name, settings in others:
        other = seeds.degraded_record(plane, name, settings)
        assert np.abs(other.maps - record.maps).mean() > 0.01


def test_strength_costs_iou(voc_root, tmp_path):
    seeds, search = tool('degraded_seeds'), tool('refiner_search')
    images, masks = seeds.load_photographs(voc_root, 'train')
    found = []
    for strength in (0.0, 1.0, 2.5):
        how = seeds.Degradation(cells=10, strength=strength)
        store = seeds.degraded_seeds(images, masks, tmp_path / f'{strength}', how)
        found.append(search.Judged(store, images, masks).seeds()['seed/mIoU_best'])
    assert found[0] > found[1] + 1 > found[2] + 2


def test_unusable_degradation(voc_root, tmp_path):
    seeds = tool('degraded_seeds')
    with pytest.raises(ConfigError, match='at least 2 cells and a strength >= 0'):
        seeds.Degradation(strength=-1)
    images, masks = seeds.load_photographs(voc_root, 'val', 2)
    assert images.ids == ['2008_000001', '2008_000003']
    seeds.degraded_seeds(images, masks, tmp_path / 's', seeds.Degradation(cells=8))
    with pytest.raises(ArtefactError, match='another degradation'):
        seeds.degraded_seeds(images, masks, tmp_path / 's', seeds.Degradation())


def test_images_without_an_object_are_left_out(voc_root):
    path = voc_root / 'SegmentationClass/2008_000002.png'
    Image.fromarray(np.zeros((58, 46), np.uint8)).save(path)
    images, masks = tool('degraded_seeds').load_photographs(voc_root, 'val')
    assert images.ids == ['2008_000001', '2008_000003', '2008_000004']
    assert sorted(masks) == images.ids
    assert images.tags == [[18], [9], [15, 17]]


def test_saliency_is_of_all_objects_and_nearly_black_and_white(voc_root, tmp_path):
    seeds = tool('degraded_seeds')
    images, masks = seeds.load_photographs(voc_root, 'val')
    seeds.write_saliency(images, masks, tmp_path, seeds.Degradation(cells=10))
    for name in images.ids:
        mask = np.array(Image.open(masks[name]))
        with Image.open(tmp_path / f'{name}.png') as picture:
            assert (picture.mode, picture.size) == ('L', mask.shape[::-1])
            grey = np.array(picture)
        objects = (mask > 0) & (mask != 255)
        assert np.median(grey[objects]) > 200
        assert np.median(grey[mask == 0]) < 60
        assert {0, 255} <= set(np.unique(grey))


def test_labels_of_degraded_seeds_can_be_trained_on(voc_root, tmp_path, monkeypatch):
    seeds = tool('degraded_seeds')
    arguments = ['--list', 'val', '--out', tmp_path / 'out', '--refiner']
    settings = [
        'type=threshold',
        'background_threshold=0.2',
        'foreground_threshold=0.5',
    ]
    argv = ['x', voc_root, *arguments, *settings]
    monkeypatch.setattr(sys, 'argv', [str(part) for part in argv])
    seeds.main()
    manifest = json.loads((tmp_path / 'out/labels.json').read_text())
    assert manifest['num_images'] == 4
    assert manifest['refiner']['foreground_threshold'] == 0.5
    assert manifest['ignored_pixels'] > 0
    label = np.array(Image.open(tmp_path / 'out/labels/2008_000003.png'))
    assert set(np.unique(label)) == {0, 10, 255}


# ---------------------------------------------------------------------- the search


def test_contender_takes_every_combination():
    search = tool('refiner_search')
    grids = [dict(x=(2, 3), y=(4, 5)), dict(z=(6,))]
    contender = search.Contender('a', dict(type='t', x=1), grids)
    assert contender.candidates() == [
        *(dict(type='t', x=x, y=y) for x in (2, 3) for y in (4, 5)),
        dict(type='t', x=1, z=6),
    ]
    assert contender.searched(dict(type='t', x=3, y=5)) == dict(x=3, y=5)
    assert search.Contender('a', dict(type='t')).candidates() == [dict(type='t')]
    assert search.in_words(dict(a=1 / 3, b='cam', c=None)) == 'a 0.333, b cam'
    assert search.in_words({}) == '-'


@pytest.fixture
def judged(voc_root, tmp_path):
    seeds, search = tool('degraded_seeds'), tool('refiner_search')
    images, masks = seeds.load_photographs(voc_root, 'val')
    how = seeds.Degradation(cells=10)
    store = seeds.degraded_seeds(images, masks, tmp_path / 'seeds', how)
    return search.Judged(store, images, masks, tmp_path / 'figures')


def iou_by_sets(judged, threshold):
    refiner = ThresholdRefiner(background_threshold=threshold)
    hits, unions = np.zeros(21), np.zeros(21)
    for name, path in zip(judged.images.ids, judged.images.paths):
        label = label_image(judged.store.read(name), path, refiner)
        mask = np.array(Image.open(judged.masks[name]))
        for index in range(21):
            a, b = (plane[mask != 255] == index for plane in (label, mask))
            hits[index] += (a & b).sum()
            unions[index] += (a | b).sum()
    return 100 * (hits[unions > 0] / unions[unions > 0]).mean()


def test_figures_are_those_of_the_labels(judged):
    for threshold in (0.25, 0.6):
        settings = dict(type='threshold', background_threshold=threshold)
        figures = judged.figures(settings)
        expected = iou_by_sets(judged, threshold)
        assert figures['mIoU'] == pytest.approx(expected, abs=0.01)
        assert (figures['images'], figures['undecided']) == (4, 0)
        assert 0 < figures['seconds']['median'] <= figures['seconds']['total']


def test_search_takes_the_best_and_keeps_what_it_found(judged, monkeypatch):
    search = tool('refiner_search')
    levels = (0.05, 0.3, 0.5, 0.95)
    contender = search.Contender(
        'threshold', dict(type='threshold'), [dict(background_threshold=levels)]
    )
    best, tried = judged.search(contender)
    found = [iou_by_sets(judged, level) for level in levels]
    assert [entry['mIoU'] for entry in tried] == pytest.approx(found, abs=0.01)
    assert best['background_threshold'] == levels[int(np.argmax(found))]
    monkeypatch.setattr(search, 'label_image', None)  # no label is made again
    assert judged.search(contender) == (best, tried)
    (path, *_) = judged.folder.glob('*.json')
    path.write_text('{')
    with pytest.raises(ArtefactError, match='is damaged'):
        judged.search(contender)


# ----------------------------------------------------------------------- the table


def test_table_of_gains(run, tmp_path):
    report = run('--only', 'threshold', 'PAMR', 'saliency')
    raw, threshold, pamr, saliency = report['rows']
    assert raw['refiner'] == 'seeds, best threshold'
    assert [row['refiner'] for row in (threshold, pamr, saliency)] == [
        'threshold',
        'PAMR',
        'saliency',
    ]
    for row in report['rows']:
        assert row['gain'] == pytest.approx(row['mIoU'] - raw['mIoU'], abs=0.006)
    assert threshold['gain'] <= 0 < pamr['gain']
    assert saliency['mIoU_decided'] > saliency['mIoU']
    best = max(pamr['tried'], key=lambda entry: entry['mIoU'])
    assert pamr['chosen'] == best['settings']
    assert [row['extra_supervision'] for row in report['rows']] == [
        *(None, None, None),
        'saliency',
    ]
    assert report['lists'] == dict(
        tune=dict(list='train', images=8), test=dict(list='val', images=4)
    )
    assert 'work' not in json.dumps(saliency['settings'])
    lines = (tmp_path / 'table.md').read_text().splitlines()
    rows = [line.strip('| ').split(' | ') for line in lines if line.startswith('|')]
    assert [row[0] for row in rows[2:]] == [raw['refiner'], 'threshold', 'PAMR'] + [
        'saliency\\*'
    ]
    assert [float(row[2]) for row in rows[2:]] == [r['mIoU'] for r in report['rows']]
    assert [float(row[3]) for row in rows[2:]] == [r['gain'] for r in report['rows']]


def test_processes_give_the_same_figures(run, tmp_path, monkeypatch):
    gain = tool('refiner_gain')
    (pamr,) = (part for part in gain.REFINERS if part['label'] == 'PAMR')
    monkeypatch.setitem(pamr, 'search', [dict(background_threshold=(0.3, 0.5))])

    def figures(jobs):
        report = run('--only', 'PAMR', '--work-dir', tmp_path / f'{jobs}', jobs=jobs)
        for row in report['rows']:
            del row['seconds']
        return report['rows']

    assert figures(1) == figures(2)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--test', 'train'], '--tune and --test share 2007_000001'),
        (['--network', 'irn=config'], 'expected NAME=CONFIG,CHECKPOINT'),
        (['--only', 'PAMA'], 'no refiner PAMA; there are threshold, PAMR'),
    ],
)
def test_what_cannot_be_compared(run, arguments, message):
    with pytest.raises(ConfigError, match=message):
        run(*arguments)
