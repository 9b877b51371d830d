"""Labels of IRN: a ring worked by hand, a network trained and used, bad input."""

import pickle
import shutil

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from pseudo_label_run import files_of, keep_images, one_thread, write_config
from tiny_run import without_slow_logging

from mmwsss.apis.pseudo_labels import generate_labels
from mmwsss.apis.seeds import load_tagged_images
from mmwsss.models.affinity.irn import IRNetwork
from mmwsss.refiners import IRNRefiner, ThresholdRefiner, build_refiner
from mmwsss.registry import MODELS
from mmwsss.structures.seed_record import SeedCodec, SeedRecord
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.checkpoint import find_checkpoint
from mmwsss.utils.errors import CheckpointError, ConfigError

COUNT = 4
IDS = [f'2007_00000{n}' for n in range(1, COUNT + 1)]
TAGS = [(0, 14), (7,), (8, 11), (19,)]
SIZES = [(40, 60), (60, 40), (48, 64), (44, 50)]

NETWORK = """
default_scope = 'mmwsss'
model = dict(
    type={kind!r},
    backbone=dict(type='TimmCNN', model_name='resnet10t', out_indices=(0, 1, 2)),
    in_channels=(64, 64, 128),
    strides=(2, 4, 8),
    radius=4,
    test_radius=3,
    boundary_channels=8,
    displacement_channels=(8, 8, 8),
    fused_channels=8,
    freeze_backbone=False,
    data_preprocessor=dict(
        type='mmseg.SegDataPreProcessor',
        mean=[127.5] * 3,
        std=[64.0] * 3,
        bgr_to_rgb=True,
        size=(32, 32),
        seg_pad_val=255,
    ),
)
"""
TRAINING = """
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='CountedSampler', shuffle=True),
    dataset=dict(
        type='VOCPseudoLabelDataset',
        data_root={root!r},
        label_root={labels!r},
        allow_absent={absent!r},
        data_prefix=dict(img_path='JPEGImages'),
        pipeline=[
            dict(type='CountedRandomness'),
            dict(type='LoadImage'),
            dict(type='LoadMask'),
            dict(type='mmseg.RandomCrop', crop_size=(32, 32)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='mmseg.PackSegInputs'),
        ],
    ),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
train_cfg = dict(type='ResumableEpochLoop', max_epochs=1)
"""


@MODELS.register_module(force=True)
class BrightBoundaries(IRNetwork):
    """Its boundaries are where the image's red is full."""

    def boundary(self, images):
        return torch.nn.functional.max_pool2d(images[:, 0], 4).clamp(0, 1)


def write_network(folder, *, kind='IRNetwork', extra=''):
    path = folder / f'{kind}.py'
    path.write_text(NETWORK.format(kind=kind) + extra)
    return path


def write_weights(path, config):
    torch.manual_seed(0)
    weights = MODELS.build(Config.fromfile(config).model).state_dict()
    torch.save(dict(state_dict=weights), path)
    return path


@pytest.fixture
def bright(tmp_path):
    """Settings of a refiner whose boundaries are bright red."""
    config = write_network(tmp_path, kind='BrightBoundaries')
    weights = write_weights(tmp_path / 'weights.pth', config)
    return dict(config=str(config), checkpoint=str(weights))


def square_ring():
    """A ring of cells 2..7 in 10 x 10 cells of 4 pixels; inside are cells 3..6."""
    cells = np.zeros((10, 10), np.uint8)
    cells[2:8, 2:8] = 255
    cells[3:7, 3:7] = 0
    image = np.zeros((40, 40, 3), np.uint8)
    image[..., 0] = cells.repeat(4, 0).repeat(4, 1)
    return image


def seed_of_a_corner():
    """A full score in cell (3, 3), inside, and a lower one on the ring."""
    maps = torch.zeros(1, 40, 40)
    maps[0, 12:16, 12:16] = 1
    maps[0, 8:12, 12:16] = 0.5
    return maps


def test_walk_fills_a_ring_and_stays_inside(bright):
    label = IRNRefiner(**bright)(seed_of_a_corner(), square_ring(), [7])
    # from the ring's centre line, where a score is 0, to that of the cells inside,
    # where it is the largest, lie 4 pixels
    rise = [0.125, 0.375, 0.625, 0.875]
    profile = np.array([0] * 10 + rise + [1] * 12 + rise[::-1] + [0] * 10)
    expected = np.where(np.outer(profile, profile) > 0.25, 8, 0)
    np.testing.assert_array_equal(label, expected)


def test_scores_inside_become_equal_by_the_number_of_neighbours(bright):
    walked = IRNRefiner(**bright, steps=2000).walk(seed_of_a_corner(), square_ring())
    cells = walked[0].unflatten(1, (10, 4)).unflatten(0, (10, 4)).mean((1, 3))
    inside = [(y, x) for y in range(4) for x in range(4)]
    degrees = [
        sum((y - v) ** 2 + (x - u) ** 2 < 3**2 for v, u in inside) for y, x in inside
    ]
    assert degrees[0] == 9
    expected = degrees[0] / sum(degrees)
    torch.testing.assert_close(
        cells[4:6, 4:6], torch.full((2, 2), expected), rtol=1e-4, atol=0
    )
    outside = torch.ones(10, 10, dtype=torch.bool)
    outside[2:8, 2:8] = False
    assert not cells[outside].any()


def test_background_threshold_is_of_the_largest_score(bright):
    faint = 0.01 * seed_of_a_corner()
    label = IRNRefiner(**bright)(faint, square_ring(), [7])
    np.testing.assert_array_equal(
        label, IRNRefiner(**bright)(seed_of_a_corner(), square_ring(), [7])
    )
    strict = IRNRefiner(**bright, background_threshold=1.0)
    assert not strict(faint, square_ring(), [7]).any()


def test_image_without_scores_or_tags_is_background(bright):
    refiner = IRNRefiner(**bright)
    assert not refiner(torch.zeros(1, 40, 40), square_ring(), [7]).any()
    assert not refiner(torch.zeros(0, 40, 40), square_ring(), []).any()


def test_published_settings():
    fields = {name: f.default for name, f in IRNRefiner.__dataclass_fields__.items()}
    assert (fields['exponent'], fields['steps']) == (10, 256)
    assert IRNRefiner.background == ('background_threshold', 0.25)


def test_other_boundaries_tell_labels_apart(bright, tmp_path):
    settings = IRNRefiner(**bright).settings()
    assert settings['background_threshold'] == 0.25
    assert not any(str(tmp_path) in str(value) for value in settings.values())
    config = write_network(tmp_path)
    weights = write_weights(tmp_path / 'other.pth', config)
    other = IRNRefiner(config=str(config), checkpoint=str(weights)).settings()
    assert other != settings


def write_seeds(folder):
    store = ArtefactStore.create(folder, SeedCodec(), dict(checkpoint='hand'))
    random = np.random.default_rng(0)
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
    without_slow_logging(monkeypatch)
    config = Config.fromfile(write_config(tmp_path, voc_root))
    with one_thread(monkeypatch):
        yield write_seeds(tmp_path / 'seeds'), load_tagged_images(config)


def train(folder, voc_root, labels, manifest):
    """Train on affinity labels for two iterations; return the config's path."""
    absent = [name for name, n in manifest['pixels_per_class'].items() if not n]
    places = dict(root=str(voc_root), labels=str(labels), absent=absent)
    path = write_network(folder, extra=TRAINING.format(**places))
    config = Config.fromfile(path)
    config.work_dir = str(folder / 'work')
    runner = Runner.from_cfg(config)
    before = {n: p.detach().clone() for n, p in runner.model.named_parameters()}
    runner.train()
    assert runner.iter == 2
    changed = runner.model.named_parameters()
    assert all(not torch.equal(before[name], p) for name, p in changed if p.dim() > 1)
    return path


def test_trained_network_labels_the_same_in_any_number_of_processes(
    task, tmp_path, voc_root
):
    seeds, images = task
    band = ThresholdRefiner(background_threshold=0.4, foreground_threshold=0.6)
    manifest = generate_labels(seeds, images, band, tmp_path / 'affinity')
    config = train(tmp_path, voc_root, tmp_path / 'affinity', manifest)
    refiner = build_refiner(
        dict(type='irn', config=str(config), checkpoint=str(tmp_path / 'work'))
    )
    refiner = pickle.loads(pickle.dumps(refiner))
    for jobs in (1, 2):
        found = generate_labels(seeds, images, refiner, tmp_path / f'{jobs}', jobs=jobs)
    assert files_of(tmp_path / '1') == files_of(tmp_path / '2')
    assert found['refiner']['type'] == 'IRNRefiner'
    assert found['ignored_pixels'] == 0
    assert sum(n > 0 for n in found['pixels_per_class'].values()) > 2
    weights = find_checkpoint(tmp_path / 'work')
    copied = shutil.copy(weights, tmp_path / 'copied.pth')
    same = IRNRefiner(config=str(config), checkpoint=str(copied))
    assert same.settings() == refiner.settings()


def test_config_of_another_network_is_refused(bright, tmp_path):
    config = tmp_path / 'cam.py'
    config.write_text(
        "model = dict(type='CAMClassifier', num_classes=2, backbone=dict(type='TimmCNN'"
        ", model_name='resnet10t', out_indices=(0,)), head=dict(type='CAMHead', "
        'in_channels=64, num_convs=0))'
    )
    refiner = IRNRefiner(**bright | dict(config=str(config)))
    with pytest.raises(ConfigError, match=r'cam\.py is of a CAMClassifier.*IRNetwork'):
        refiner(seed_of_a_corner(), square_ring(), [7])


def test_places_must_be_named_and_exist(bright, tmp_path):
    with pytest.raises(ConfigError, match='IRNRefiner runs a trained network'):
        IRNRefiner()
    with pytest.raises(CheckpointError, match=r'absent\.pth'):
        IRNRefiner(**bright | dict(checkpoint=str(tmp_path / 'absent.pth')))


def test_weights_of_another_network_are_refused(bright, tmp_path):
    torch.save(dict(state_dict=dict(weight=torch.zeros(2))), tmp_path / 'other.pth')
    refiner = IRNRefiner(**bright | dict(checkpoint=str(tmp_path / 'other.pth')))
    with pytest.raises(CheckpointError, match=r'other\.pth does not fit'):
        refiner(seed_of_a_corner(), square_ring(), [7])


def test_background_is_scored_in_one_way(bright):
    with pytest.raises(ConfigError, match='not by both'):
        IRNRefiner(**bright, alpha=4, background_threshold=0.3)
