"""Pseudo labels from hand-made seeds: values, manifest, restart, bad input."""

import hashlib
import json
import shutil
import sys
import time

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from pseudo_label_run import files_of, keep_images, one_thread, write_config

from mmwsss.apis import pseudo_labels as module
from mmwsss.apis.pseudo_labels import choose_refiner, generate_labels
from mmwsss.apis.seeds import load_tagged_images
from mmwsss.functional.localization import maps_to_image
from mmwsss.refiners import (
    DenseCRFRefiner,
    PAMRRefiner,
    SaliencyRefiner,
    ThresholdRefiner,
)
from mmwsss.structures.seed_record import SeedCodec, SeedRecord
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.errors import ArtefactError, ConfigError, DataError, DependencyError

COUNT = 4
IDS = [f'2007_00000{n}' for n in range(1, COUNT + 1)]
TAGS = [(0, 14), (7,), (8, 11), (19,)]
SIZES = [(40, 60), (60, 40), (48, 64), (44, 50)]
BAND = ThresholdRefiner(background_threshold=0.3, foreground_threshold=0.6)


def write_seeds(folder, seed=0):
    store = ArtefactStore.create(folder, SeedCodec(), dict(checkpoint=str(seed)))
    random = np.random.default_rng(seed)
    for name, tags, size in zip(IDS, TAGS, SIZES):
        maps = random.random((len(tags), 4, 4))
        shapes = dict(input_shape=(32, 32), img_shape=(32, 32), ori_shape=size)
        store.write(name, SeedRecord(maps, tags, **shapes, align_corners=True))
    store.finish(IDS)
    return store


@pytest.fixture
def task(tmp_path, voc_root, monkeypatch):
    """Seeds and images; the masks are gone."""
    keep_images(voc_root, COUNT)
    shutil.rmtree(voc_root / 'SegmentationClass')
    config = Config.fromfile(write_config(tmp_path, voc_root))
    with one_thread(monkeypatch):
        yield write_seeds(tmp_path / 'seeds'), load_tagged_images(config)


@pytest.fixture
def made(monkeypatch):
    """Number of labels that are made."""
    calls, label_image = [], module.label_image

    def note(record, path, refiner):
        calls.append(path.rpartition('/')[2].removesuffix('.jpg'))
        return label_image(record, path, refiner)

    monkeypatch.setattr(module, 'label_image', note)
    return calls


def read_label(folder, name):
    with Image.open(folder / f'labels/{name}.png') as image:
        assert image.mode == 'P'
        return np.array(image), image.getpalette()


def expected_label(seeds, name):
    """Thresholds 0.3 and 0.6 on the record's maps, by loops over pixels."""
    record = seeds.read(name)
    maps = maps_to_image(record.tensor(), **record.geometry()).numpy()
    label = np.zeros(maps.shape[1:], int)
    for place in np.ndindex(label.shape):
        values = [float(plane[place]) for plane in maps]
        best = max(values)
        if best > 0.6:
            label[place] = record.classes[values.index(best)] + 1
        elif best > 0.3:
            label[place] = 255
    return label


def test_labels_and_manifest(task, tmp_path):
    seeds, images = task
    manifest = generate_labels(seeds, images, BAND, tmp_path)
    names = list(images.classes)
    counts = dict.fromkeys(names, 0)
    ignored = 0
    for name, tags, size in zip(IDS, TAGS, SIZES):
        label, palette = read_label(tmp_path, name)
        assert label.shape == size
        np.testing.assert_array_equal(label, expected_label(seeds, name))
        assert set(np.unique(label)) == {0, 255, *(tag + 1 for tag in tags)}
        assert palette[3 * 15 : 3 * 16] == [192, 128, 128]
        for index in np.unique(label[label < 255]):
            counts[names[index]] += int((label == index).sum())
        ignored += int((label == 255).sum())
    assert manifest == json.loads((tmp_path / 'labels.json').read_text())
    assert manifest == dict(
        classes=names,
        num_images=COUNT,
        pixels_per_class=counts,
        ignored_pixels=ignored,
        images={
            name: hashlib.sha256(
                (tmp_path / f'labels/{name}.png').read_bytes()
            ).hexdigest()
            for name in IDS
        },
        refiner=dict(
            type='ThresholdRefiner', background_threshold=0.3, foreground_threshold=0.6
        ),
        seeds=seeds.digest(),
        extra_supervision=None,
    )
    text = (tmp_path / 'labels.json').read_text()
    assert text == json.dumps(manifest, indent=1, sort_keys=True) + '\n'


def test_refiner_sees_the_photograph_in_rgb(task, tmp_path, voc_root):
    seen = {}

    class Spy(ThresholdRefiner):
        def __call__(self, maps, image, tags):
            seen[tags] = image
            return super().__call__(maps, image, tags)

    generate_labels(*task, Spy(), tmp_path)
    for name, tags in zip(IDS, TAGS):
        with Image.open(voc_root / f'JPEGImages/{name}.jpg') as image:
            np.testing.assert_array_equal(seen[tags], np.array(image.convert('RGB')))


def test_second_run_makes_nothing(task, tmp_path, made):
    generate_labels(*task, BAND, tmp_path)
    assert made == IDS
    files = [tmp_path / 'labels.json', *(tmp_path / 'labels').iterdir()]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
    made.clear()
    generate_labels(*task, BAND, tmp_path)
    assert made == []
    assert before == {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in files}


def test_damaged_and_missing_labels_are_made_again(task, tmp_path, made):
    generate_labels(*task, BAND, tmp_path)
    before = files_of(tmp_path)
    path = tmp_path / f'labels/{IDS[1]}.png'
    path.write_bytes(path.read_bytes()[:60])
    (tmp_path / f'labels/{IDS[3]}.png').unlink()
    (tmp_path / 'labels.json').unlink()
    made.clear()
    generate_labels(*task, BAND, tmp_path)
    assert made == [IDS[1], IDS[3]]
    assert files_of(tmp_path) == before


def test_manifest_is_gone_while_labels_are_made(task, tmp_path, monkeypatch):
    generate_labels(*task, BAND, tmp_path)
    (tmp_path / f'labels/{IDS[3]}.png').unlink()

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, 'label_image', fail)
    with pytest.raises(KeyboardInterrupt):
        generate_labels(*task, BAND, tmp_path)
    assert not (tmp_path / 'labels.json').exists()


def test_changed_manifest_is_written_again(task, tmp_path, made):
    generate_labels(*task, BAND, tmp_path)
    before = files_of(tmp_path)
    (tmp_path / 'labels.json').write_text('{}')
    made.clear()
    generate_labels(*task, BAND, tmp_path)
    assert (files_of(tmp_path), made) == (before, [])


def test_painted_label_is_refused(task, tmp_path):
    generate_labels(*task, BAND, tmp_path)
    path = tmp_path / f'labels/{IDS[0]}.png'
    with Image.open(path) as image:
        image.putpixel((0, 0), 1 + image.getpixel((0, 0)) % 2)
        image.save(path)
    with pytest.raises(ArtefactError, match=f'{path} has changed since it was made'):
        generate_labels(*task, BAND, tmp_path)


@pytest.mark.parametrize(
    ('refiner', 'seed', 'what'),
    [
        (ThresholdRefiner(background_threshold=0.3), 0, 'refiner'),
        (PAMRRefiner(background_threshold=0.3, foreground_threshold=0.6), 0, 'refiner'),
        (BAND, 1, 'seeds'),
    ],
)
def test_labels_of_another_origin_are_refused(task, tmp_path, refiner, seed, what):
    generate_labels(*task, BAND, tmp_path / 'out')
    before = files_of(tmp_path / 'out')
    seeds = write_seeds(tmp_path / f'seeds{seed}', seed)
    message = f'labels holds pseudo labels of another {what} '
    with pytest.raises(ArtefactError, match=message):
        generate_labels(seeds, task[1], refiner, tmp_path / 'out')
    assert files_of(tmp_path / 'out') == before


def test_folder_with_other_pictures_is_refused(task, tmp_path):
    (tmp_path / 'labels').mkdir()
    Image.new('P', (4, 4)).save(tmp_path / 'labels/mine.png')
    with pytest.raises(ArtefactError, match='holds .png files and no manifest.json'):
        generate_labels(*task, BAND, tmp_path)


@pytest.mark.parametrize('jobs', [1, 2])
def test_saliency_is_read_by_image_and_stated(task, tmp_path, jobs):
    maps = tmp_path / 'saliency'
    maps.mkdir()
    for index, (name, (height, width)) in enumerate(zip(IDS, SIZES)):
        Image.new('L', (width, height), 85 * index).save(maps / f'{name}.png')
    refiner = SaliencyRefiner(folder=str(maps), crf=None, least_share=0.0)
    manifest = generate_labels(*task, refiner, tmp_path / 'out', jobs=jobs)
    assert manifest['extra_supervision'] == 'saliency'
    assert manifest['refiner']['folder'] == str(maps)
    shares = [(read_label(tmp_path / 'out', name)[0] == 0).mean() for name in IDS]
    # without saliency all is background, with some no background is sure
    assert shares[0] == 1 and max(shares[1:]) == 0
    assert (read_label(tmp_path / 'out', IDS[3])[0] == TAGS[3][0] + 1).mean() > 0.99


class SlowFirstRefiner(ThresholdRefiner):
    def __call__(self, maps, image, tags):
        if tags == TAGS[0]:
            time.sleep(0.3)
        return super().__call__(maps, image, tags)


def test_several_jobs_write_the_bytes_of_one(task, tmp_path, made):
    settings = dict(background_threshold=0.3, foreground_threshold=0.6)
    refiner = SlowFirstRefiner(**settings)
    generate_labels(*task, refiner, tmp_path / 'one')
    made.clear()
    generate_labels(*task, refiner, tmp_path / 'three', jobs=3)
    assert made == []
    assert files_of(tmp_path / 'three') == files_of(tmp_path / 'one')
    (tmp_path / f'three/labels/{IDS[1]}.png').unlink()
    generate_labels(*task, refiner, tmp_path / 'three', jobs=3)
    assert files_of(tmp_path / 'three') == files_of(tmp_path / 'one')


def test_jobs_below_one(task, tmp_path):
    with pytest.raises(ConfigError, match='jobs: expected >= 1, got 0'):
        generate_labels(*task, BAND, tmp_path, jobs=0)


def test_refiner_on_the_processor_gets_its_maps_there(task, tmp_path, monkeypatch):
    devices = []

    class CPURefiner(ThresholdRefiner):
        on_cpu = True

        def __call__(self, maps, image, tags):
            devices.append(maps.device.type)
            return super().__call__(maps, image, tags)

    monkeypatch.setattr(module, 'get_device', lambda: 'meta')
    generate_labels(*task, CPURefiner(), tmp_path)
    assert devices == ['cpu'] * COUNT


def test_damaged_seeds_stop(task, tmp_path):
    seeds, images = task
    path = seeds.path(IDS[2])
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ArtefactError, match=rf'{path} is damaged \(cut short'):
        generate_labels(seeds, images, BAND, tmp_path)
    assert not (tmp_path / 'labels.json').exists()


def test_image_of_another_size_is_refused(task, tmp_path, voc_root):
    path = voc_root / f'JPEGImages/{IDS[1]}.jpg'
    Image.new('RGB', (33, 44)).save(path)
    with pytest.raises(DataError) as caught:
        generate_labels(*task, BAND, tmp_path)
    assert str(caught.value).startswith(
        f'{path} is 33x44 (width x height), its seeds are of an image of 40x60: restore'
    )


@pytest.mark.parametrize(
    ('refiner', 'options', 'expected'),
    [
        (None, {}, PAMRRefiner()),
        (dict(type='PAMRRefiner', iterations=3), {}, PAMRRefiner(iterations=3)),
        (
            dict(type='PAMRRefiner', iterations=3),
            dict(name='pamr', background_threshold=0.2),
            PAMRRefiner(iterations=3, background_threshold=0.2),
        ),
        (
            dict(type='PAMRRefiner', iterations=3),
            dict(name='threshold'),
            ThresholdRefiner(),
        ),
        (
            None,
            dict(name='threshold', background_threshold=0.7),
            ThresholdRefiner(background_threshold=0.7),
        ),
    ],
)
def test_choice_of_the_refiner(refiner, options, expected):
    config = Config(dict(refiner=refiner) if refiner else {})
    found = choose_refiner(config, **options)
    assert found == expected
    assert type(found) is type(expected)


def test_unknown_refiner():
    with pytest.raises(ConfigError, match="no refiner 'crf'; known are densecrf"):
        choose_refiner(Config({}), name='crf')


def test_choice_past_a_refiner_whose_package_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pydensecrf.densecrf', None)
    config = Config(dict(refiner=dict(type='densecrf', preset='irn')))
    assert choose_refiner(config, name='pamr') == PAMRRefiner()
    with pytest.raises(DependencyError, match='--refiner pamr'):
        choose_refiner(config)


def test_choice_of_a_preset():
    pytest.importorskip('pydensecrf.densecrf')
    config = Config(dict(refiner=dict(type='densecrf', preset='irn')))
    found = choose_refiner(config, name='DenseCRF', background_threshold=0.3)
    assert found == DenseCRFRefiner(preset='irn', background_threshold=0.3)
