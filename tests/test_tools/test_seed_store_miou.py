"""Stores of maps through the tools: figures, growth, and use for pseudo labels."""

import json
import re
import runpy
import sys

import numpy as np
import pytest
from accumulation_run import IDS, accumulated, config_maker, run
from PIL import Image
from pseudo_label_run import (
    ROOT,
    files_of,
    keep_images,
    one_thread,
    run_tool,
    write_checkpoint,
)
from tiny_run import without_slow_logging

from mmwsss.apis.accumulated_store import open_accumulated
from mmwsss.apis.seeds import generate_seeds, load_tagged_images
from mmwsss.functional.localization import maps_to_image
from mmwsss.structures.seed_record import SeedCodec, SeedRecord
from mmwsss.utils.artefact_store import ArtefactStore

TAGS = [(0, 14), (7,), (8, 11), (19,)]


@pytest.fixture
def trained(tmp_path, voc_root, monkeypatch):
    """The config of a training that has ended, as a file and read."""
    without_slow_logging(monkeypatch)
    with one_thread(monkeypatch):
        config = config_maker(tmp_path, voc_root)('work')
        run(config)
        config.dump(tmp_path / 'config.py')
        yield config


@pytest.fixture
def tool(tmp_path, monkeypatch, capsys):
    """Run a tool of tools/analysis; return its output and its error line."""

    def run(name, *arguments):
        path = ROOT / f'tools/analysis/{name}.py'
        monkeypatch.setattr(sys, 'argv', [str(path), *map(str, arguments)])
        try:
            runpy.run_path(str(path), run_name='__main__')
        except SystemExit as error:
            assert error.code == 1
        return capsys.readouterr()

    return run


@pytest.fixture
def label(tmp_path, monkeypatch, capsys):
    """Make pseudo labels with the training's config and checkpoint."""

    def label(*arguments, checkpoint=tmp_path / 'work'):
        status = 0
        try:
            run_tool(monkeypatch, tmp_path / 'config.py', checkpoint, *arguments)
        except SystemExit as error:
            status = error.code
        return status, capsys.readouterr().err

    return label


def mean_iou_by_loops(store, voc_root, threshold, names=IDS):
    """Intersection over union of every class, pixel by pixel, in float32."""
    counts = np.zeros((3, 21), int)
    for name in names:
        record = store.read(name)
        planes = maps_to_image(record.tensor(), **record.geometry()).numpy()
        mask = np.array(Image.open(voc_root / f'SegmentationClass/{name}.png'))
        for place in np.ndindex(mask.shape):
            if mask[place] == 255:
                continue
            found, best = 0, np.float32(threshold)
            for index, plane in zip(record.classes, planes):
                if plane[place] > best:
                    found, best = index + 1, plane[place]
            counts[0, mask[place]] += 1
            counts[1, found] += 1
            counts[2, found] += found == mask[place]
    union = counts[0] + counts[1] - counts[2]
    return 100 * np.mean(counts[2] / np.maximum(union, 1))


def figures_of(out):
    pairs = re.findall(r'^(\S+) (\S+)$', out, flags=re.MULTILINE)
    return {name: float(value) for name, value in pairs}


def test_accumulated_and_generated_seeds_are_measured(
    trained, tool, tmp_path, voc_root
):
    generated = generate_seeds(
        trained,
        str(tmp_path / 'work/epoch_5.pth'),
        load_tagged_images(trained),
        tmp_path / 'seeds',
    )
    stores = {
        accumulated(trained): open_accumulated(accumulated(trained)),
        tmp_path / 'seeds': generated,
    }
    for folder, store in stores.items():
        out = tool(
            'seed_store_miou',
            tmp_path / 'config.py',
            folder,
            '--metrics',
            tmp_path / 'found/m.json',
        ).out
        figures = json.loads((tmp_path / 'found/m.json').read_text())
        assert figures_of(out).keys() == figures.keys()
        assert figures['images'] == 4
        for protocol in ('best', 'gt_free'):
            threshold = figures[f'seed/threshold_{protocol}']
            expected = mean_iou_by_loops(store, voc_root, threshold)
            assert figures[f'seed/mIoU_{protocol}'] == pytest.approx(expected, abs=1e-4)
            for name in ('mPrecision', 'mRecall'):
                assert 0 <= figures[f'seed/{name}_{protocol}'] <= 100


def test_images_without_masks_are_left_out(trained, tool, tmp_path, voc_root):
    for name in IDS[2:]:
        (voc_root / f'SegmentationClass/{name}.png').unlink()
    (voc_root / 'SegmentationClass').rename(voc_root / 'Masks')
    metrics = tmp_path / 'm.json'
    tool(
        'seed_store_miou',
        tmp_path / 'config.py',
        accumulated(trained),
        '--masks',
        'Masks',
        '--metrics',
        metrics,
    )
    figures = json.loads(metrics.read_text())
    assert figures['images'] == 2
    (voc_root / 'Masks').rename(voc_root / 'SegmentationClass')
    store = open_accumulated(accumulated(trained))
    expected = mean_iou_by_loops(
        store, voc_root, figures['seed/threshold_best'], IDS[:2]
    )
    assert figures['seed/mIoU_best'] == pytest.approx(expected, abs=1e-4)


def test_stores_that_cannot_be_measured(trained, tool, tmp_path, voc_root):
    config = tmp_path / 'config.py'
    error = tool('seed_store_miou', config, tmp_path / 'none').err
    assert 'none holds no accumulated maps: train with custom_hooks' in error
    error = tool('seed_store_miou', config, accumulated(trained), '--masks', 'No').err
    assert 'No does not exist' in error
    (voc_root / 'Empty').mkdir()
    error = tool(
        'seed_store_miou', config, accumulated(trained), '--masks', 'Empty'
    ).err
    assert 'none of the 4 images has a mask' in error
    other = ArtefactStore.create(tmp_path / 'other', SeedCodec(), dict(a='b'))
    shapes = dict.fromkeys(('input_shape', 'img_shape', 'ori_shape'), (4, 4))
    other.write(
        'x', SeedRecord(np.zeros((1, 2, 2)), (0,), **shapes, align_corners=True)
    )
    other.finish(['x'])
    error = tool('seed_store_miou', config, tmp_path / 'other').err
    assert 'holds no image of seed_dataloader that has a mask' in error


def test_growth_is_shown_and_drawn(trained, tool, tmp_path):
    plot = tmp_path / 'g.png'
    out = tool('accumulation_growth', tmp_path / 'work', '--plot', plot).out
    rows = [re.findall(r'[\d.]+', line) for line in out.splitlines()[3:-1]]
    lines = (accumulated(trained) / 'growth.jsonl').read_text().splitlines()
    for row, line in zip(rows, map(json.loads, lines), strict=True):
        counts = [str(line[n]) for n in ('epoch', 'images', 'maps', 'tags')]
        assert row == [*counts, f'{100 * line["covered"]:.2f}']
    with Image.open(plot) as image:
        assert image.size == (600, 400)
    assert tool('accumulation_growth', accumulated(trained)).out == out
    error = tool('accumulation_growth', tmp_path).err
    assert 'accumulated holds no accumulated maps: name the work directory' in error


def test_labels_of_accumulated_maps(trained, label, tmp_path):
    store = open_accumulated(accumulated(trained))
    # as if one class had never passed the gate
    bare = store.read(IDS[0])
    bare = SeedRecord(bare.maps[:1], bare.classes[:1], **bare.geometry())
    out = tmp_path / 'out'
    store.write(IDS[0], bare)
    store.finish(IDS)
    folder = accumulated(trained) / 'epoch_5'
    arguments = ('--out', out, '--accumulated', folder)
    assert label(*arguments, '--only', 'seeds') == (0, '')
    seeds = ArtefactStore.open(out / 'seeds', SeedCodec())
    for name, tags in zip(IDS, TAGS):
        record = seeds.read(name)
        assert record.classes == tags
        expected = store.read(name).with_classes(tags)
        np.testing.assert_array_equal(record.maps, expected.maps)
    assert seeds.read(IDS[0]).maps[1].max() == 0
    assert label(*arguments) == (0, '')
    before = files_of(out)
    assert json.loads(before['labels.json'])['seeds'] == seeds.digest()
    assert label(*arguments) == (0, '')
    assert files_of(out) == before
    status, error = label('--out', out)
    assert status == 1 and 'is made from' in error


def test_changed_store_is_refused(trained, label, tmp_path):
    path = accumulated(trained) / f'epoch_5/{IDS[0]}.seed'
    path.write_bytes(path.read_bytes()[:-3])
    status, error = label(
        '--out', tmp_path / 'o', '--accumulated', accumulated(trained)
    )
    assert status == 1 and f'{path} has changed since it was made' in error


def test_store_of_another_checkpoint_or_kind(trained, label, tmp_path):
    other = write_checkpoint(tmp_path / 'other.pth', tmp_path / 'config.py')
    out = ('--out', tmp_path / 'o', '--accumulated')
    status, error = label(*out, accumulated(trained), checkpoint=other)
    assert status == 1
    assert re.search(r'not accumulated up to .*other.pth: another checkpoint \(', error)
    assert label('--out', tmp_path / 'made', '--only', 'seeds')[0] == 0
    status, error = label(*out, tmp_path / 'made/seeds')
    assert status == 1 and 'another origin, it holds generated seeds; name' in error
    assert not (tmp_path / 'o/seeds').exists()


def test_training_that_has_not_ended(trained, label, tmp_path):
    path = accumulated(trained) / 'growth.jsonl'
    path.write_text(''.join(path.read_text().splitlines(True)[:-1]))
    out = ('--out', tmp_path / 'o', '--accumulated')
    status, error = label(*out, accumulated(trained))
    assert status == 1 and 'has not ended, epoch 4 is its last: resume it' in error
    epoch = accumulated(trained) / 'epoch_4'
    assert label(*out, epoch, checkpoint=tmp_path / 'work/epoch_4.pth') == (0, '')


def test_other_tags(trained, label, tmp_path, voc_root):
    keep_images(voc_root, 3)
    status, error = label(
        '--out', tmp_path / 'o', '--accumulated', accumulated(trained)
    )
    assert status == 1 and re.search(r'another data set \(.* tags \(', error)
