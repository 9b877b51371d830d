"""PSA from end to end: training, labels in several processes, and a case by hand."""

import shutil

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from pseudo_label_run import files_of, one_thread
from refiner_networks import PSA_CONFIG, build, drawn_image, write_network
from tiny_run import ROOT, without_slow_logging

from mmwsss.apis.pseudo_labels import generate_labels
from mmwsss.apis.seeds import TaggedImages
from mmwsss.datasets import SyntheticTagDataset
from mmwsss.datasets.synthetic import SyntheticSettings, write_synthetic
from mmwsss.functional.affinity_pairs import half_disc_offsets
from mmwsss.models.affinity import PSANetwork
from mmwsss.refiners import PSARefiner, ThresholdRefiner, build_refiner, network_refiner
from mmwsss.structures.seed_record import SeedCodec, SeedRecord
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.errors import ArtefactError, ConfigError

IMAGES = 8
TRAINING = """
_base_ = {base!r}
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root={root!r}, label_root={labels!r}, allow_absent={absent!r}),
)
train_cfg = dict(max_epochs=1)
default_hooks = dict(logger=dict(interval=1))
work_dir = {work!r}
"""
"""Two iterations of the embedded config, its network a tiny one."""
EMBEDDED = str(ROOT / 'configs/refinement/psa_embedded.py')


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    write_synthetic(root, SyntheticSettings(train=IMAGES, val=1, test=1, seed=0))
    splits = 'ImageSets/Segmentation'
    with DefaultScope.overwrite_default_scope('mmwsss'):
        dataset = SyntheticTagDataset(
            ann_file=f'{splits}/train.txt',
            tag_file=f'{splits}/train_tags.txt',
            data_root=str(root),
            data_prefix=dict(img_path='JPEGImages'),
            pipeline=[],
        )
    records = [dataset.get_data_info(index) for index in range(len(dataset))]
    paths = [record['img_path'] for record in records]
    ids = [dataset.image_id(path) for path in paths]
    return TaggedImages(dataset, ids, paths, [r['gt_label'] for r in records])


@pytest.fixture(scope='module')
def seeds(images, tmp_path_factory):
    """Random maps on a grid of 6 by 6."""
    folder = tmp_path_factory.mktemp('seeds')
    store = ArtefactStore.create(folder, SeedCodec(), dict(checkpoint='drawn'))
    random = np.random.default_rng(0)
    shapes = dict(input_shape=(96, 96), img_shape=(96, 96), ori_shape=(96, 96))
    for name, tags in zip(images.ids, images.tags):
        maps = random.random((len(tags), 6, 6))
        store.write(name, SeedRecord(maps, tags, **shapes, align_corners=True))
    store.finish(images.ids)
    return store


@pytest.fixture(scope='module')
def trained(images, seeds, tmp_path_factory):
    """Config and work directory of a training of two iterations on affinity labels."""
    folder = tmp_path_factory.mktemp('psa')
    with pytest.MonkeyPatch.context() as patch, one_thread(patch):
        without_slow_logging(patch)
        band = ThresholdRefiner(background_threshold=0.4, foreground_threshold=0.7)
        manifest = generate_labels(seeds, images, band, folder / 'labels')
        pixels = manifest['pixels_per_class']
        path = folder / 'psa.py'
        text = TRAINING.format(
            base=EMBEDDED,
            root=str(images.dataset.data_root),
            labels=str(folder / 'labels'),
            absent=[name for name in pixels if not pixels[name]],
            work=str(folder / 'work'),
        )
        small = PSA_CONFIG.replace('dict(\n    type', 'dict(_delete_=True, type')
        path.write_text(text + small)
        DefaultScope('mmwsss_test_psa', scope_name='mmwsss')
        runner = Runner.from_cfg(Config.fromfile(path))
        before = {k: v.clone() for k, v in runner.model.state_dict().items()}
        runner.train()
    assert runner.iter == 2
    after = runner.model.state_dict()
    assert [name for name in after if torch.equal(before[name], after[name])] == []
    return str(path), str(folder / 'work')


@pytest.fixture
def task(seeds, images, monkeypatch):
    with one_thread(monkeypatch):
        yield seeds, images


def refiner_of(trained, **settings):
    config, checkpoint = trained
    settings = dict(steps=16, alpha=1.0) | settings
    return PSARefiner(config=config, checkpoint=checkpoint, **settings)


def test_several_jobs_write_the_bytes_of_one(task, trained, tmp_path):
    refiner = refiner_of(trained)
    manifest = generate_labels(*task, refiner, tmp_path / 'one')
    # as in a run of its own, where only the other processes run the network
    network_refiner.load_network.cache_clear()
    generate_labels(*task, refiner, tmp_path / 'two', jobs=2)
    assert network_refiner.load_network.cache_info().currsize == 0
    assert files_of(tmp_path / 'two') == files_of(tmp_path / 'one')
    labels = [name for name in files_of(tmp_path / 'one') if name.endswith('png')]
    assert len(labels) == IMAGES
    foreground = list(manifest['pixels_per_class'].values())[1:]
    assert sum(foreground) > 0.1 * IMAGES * 96 * 96
    assert manifest['refiner'] == refiner.settings()
    assert str(trained[1]) not in (tmp_path / 'one/labels.json').read_text()


def test_labels_of_other_weights_are_told_apart(task, trained, tmp_path):
    generate_labels(*task, refiner_of(trained), tmp_path)
    before = files_of(tmp_path)
    moved = shutil.copytree(trained[1], tmp_path.with_name('moved'))
    generate_labels(*task, refiner_of((trained[0], str(moved))), tmp_path)
    assert files_of(tmp_path) == before
    (checkpoint,) = moved.glob('epoch_*.pth')
    content = torch.load(checkpoint, weights_only=False)
    content['state_dict']['join.weight'][0, 0] += 1e-3
    torch.save(content, checkpoint)
    with pytest.raises(ArtefactError, match='holds pseudo labels of another refiner'):
        generate_labels(*task, refiner_of((trained[0], str(moved))), tmp_path)
    assert files_of(tmp_path) == before


def blocks(image_size, stride):
    """Return affinities that are 1 within each of two regions and 0 across."""
    rows, columns = (side // stride for side in image_size)
    regions = torch.zeros(rows, columns, dtype=torch.int64)
    regions[1:4, 2:5] = 1
    offsets = half_disc_offsets(3)
    affinity = torch.zeros(1, len(offsets), rows, columns)
    for p, (dy, dx) in enumerate(offsets):
        for y, x in np.ndindex(rows, columns):
            if y + dy < rows and 0 <= x + dx < columns:
                affinity[0, p, y, x] = regions[y, x] == regions[y + dy, x + dx]
    return regions, affinity


def test_partial_seed_grows_to_its_object_and_no_further(tmp_path, monkeypatch):
    """Of 9 cells 4 are sure and 5 weak; a row of the background is weak as well."""
    size, stride = (24, 28), 4
    config, checkpoint = write_network(tmp_path)
    regions, affinity = blocks(size, stride)
    asked = []

    def known(self, images):
        asked.append(images.shape)
        return affinity

    monkeypatch.setattr(PSANetwork, 'affinity', known)
    maps = torch.zeros(1, *size)
    maps[0, 4:16, 8:20] = 0.25
    maps[0, 4:12, 8:16] = 1.0
    maps[0, :4] = 0.2
    refiner = PSARefiner(config=config, checkpoint=checkpoint, steps=4096)
    label = refiner(maps, drawn_image(*size), (4,))
    assert asked == [(1, 3, *size)]
    inner = label[2::stride, 2::stride]
    np.testing.assert_array_equal(inner, 5 * regions.numpy())
    walked = refiner.walk(maps, drawn_image(*size))[0, 2::stride, 2::stride]
    # the object's cells reach all of it: each ends at the mean, (4 + 5 / 4) / 9
    middle = walked[1:4, 2:5][1, 1]
    assert float(middle) == pytest.approx(21 / 36, abs=1e-3)
    assert float(walked[regions == 0].max()) < 0.2


def test_values_of_the_paper_and_its_name(tmp_path):
    config, checkpoint = write_network(tmp_path)
    places = dict(config=config, checkpoint=checkpoint)
    refiner = build_refiner(dict(type='psa', **places))
    assert isinstance(refiner, PSARefiner)
    assert (refiner.exponent, refiner.steps, refiner.alpha) == (8.0, 256, 16.0)
    assert build_refiner(dict(type='PSARefiner', **places)) == refiner
    chosen = build_refiner(dict(type='psa', background_threshold=0.3, **places))
    assert (chosen.alpha, chosen.background_threshold) == (None, 0.3)


def test_network_must_be_named():
    with pytest.raises(ConfigError, match='PSARefiner runs a trained network; name'):
        build_refiner('psa')


def test_tiny_network_is_psa():
    assert isinstance(build(PSA_CONFIG), PSANetwork)
