"""The background's score over a store of seeds, by scores alone or by masks."""

import json

import numpy as np
import pytest
from joined_processes import run_joined
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image
from pseudo_label_run import keep_images, write_config

from mmwsss.apis.background_scores import (
    BackgroundScore,
    background_rule,
    choose_background,
    masks_of_all,
    score_or_rule,
)
from mmwsss.apis.pseudo_labels import generate_labels, refiner_settings
from mmwsss.apis.seed_masks import read_mask
from mmwsss.apis.seeds import load_tagged_images
from mmwsss.refiners import SaliencyRefiner, ThresholdRefiner
from mmwsss.registry import METRICS
from mmwsss.structures.seed_record import SeedCodec, SeedRecord
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.errors import ConfigError, DataError

IDS = [f'2007_00000{n}' for n in range(1, 5)]
TAGS = [(0, 14), (7,), (8, 11), (19,)]
SIZES = [(40, 60), (60, 40), (48, 64), (44, 50)]
# four pixels each; the second class of an image with two is nowhere
SCORES = [[0, 0.3, 0.8, 1], [0, 0.3, 0.3, 1], [0, 0, 0.1, 1], [0, 0.3, 0.8, 1]]
MASKS = [[0, 0, 1, 1], [0, 8, 8, 8], [0, 0, 0, 9], [0, 20, 20, 255]]
GRID = [0.0, 0.25, 0.5, 0.75]


def write_store(folder, maps, sizes):
    store = ArtefactStore.create(folder, SeedCodec(), dict(checkpoint='x'))
    for name, tags, values, size in zip(IDS, TAGS, maps, sizes):
        shapes = dict.fromkeys(('input_shape', 'img_shape', 'ori_shape'), size)
        store.write(name, SeedRecord(values, tags, **shapes, align_corners=True))
    store.finish(IDS)
    return store


def row_store(folder):
    """Write ``SCORES`` as images of one row."""
    maps = [
        np.array([row, *[[0.0] * 4] * (len(tags) - 1)])[:, None]
        for row, tags in zip(SCORES, TAGS)
    ]
    return write_store(folder, maps, [(1, 4)] * 4)


def random_store(folder):
    random = np.random.default_rng(0)
    maps = [random.random((len(tags), 6, 5)) ** 3 for tags in TAGS]
    return write_store(folder, maps, SIZES)


def row_masks(folder, rows=MASKS):
    folder.mkdir()
    for name, row in zip(IDS, rows):
        Image.fromarray(np.array([row], np.uint8)).save(folder / f'{name}.png')
    return str(folder)


@pytest.fixture
def config(tmp_path, voc_root):
    keep_images(voc_root, len(IDS))
    return Config.fromfile(write_config(tmp_path, voc_root))


def with_grid(config):
    config.test_evaluator = [dict(type='SeedIoUMetric', thresholds=GRID)]
    return config


def test_score_without_masks_by_hand(config, tmp_path):
    """Of 16 scores 5, 1, 4, 0 and 6 are in the bins about 0, .125, .375, .625, .875.

    n0 n1 (m0 - m1)^2 is 21.5 behind the first bin, then 25.7, 30.5 and, as nothing is
    in the fourth, 30.5 again: the first of the equal ones, 0.5, is taken.
    """
    images = load_tagged_images(with_grid(config))
    found = choose_background('gt_free', config, row_store(tmp_path / 's'), images)
    assert found == BackgroundScore('gt_free', 0.5, 4)
    assert found.extra_supervision is None


def test_score_by_masks_by_hand(config, tmp_path):
    """IoU of background, classes 1, 8, 9 and 20, all others 0, at each threshold.

    0: 5/7 2/3 1 1/2 1; 0.25: 6/7 2/3 1 1 1; 0.5 and 0.75: 7/10 1 1/3 1 1/2.
    """
    images = load_tagged_images(with_grid(config))
    masks = masks_of_all(config, images, row_masks(tmp_path / 'm'))
    seeds = row_store(tmp_path / 's')
    found = choose_background('searched', config, seeds, images, masks=masks)
    assert found == BackgroundScore('searched', 0.25, 4)
    assert found.extra_supervision == 'masks (threshold searched)'


def figures_of_the_metric(seeds, images, masks):
    metric = METRICS.build(dict(type='SeedIoUMetric'))
    metric.dataset_meta = dict(classes=images.classes)
    for name, path in zip(images.ids, images.paths):
        record = seeds.read(name)
        localization = dict(
            data=record.tensor(),
            classes=record.classes,
            input_shape=record.input_shape,
            align_corners=record.align_corners,
        )
        sample = dict(
            img_path=path,
            img_shape=record.img_shape,
            ori_shape=record.ori_shape,
            gt_sem_seg=dict(data=read_mask(masks[name], path, record)[None]),
            localization=localization,
        )
        metric.process(None, [sample])
    return metric.evaluate(len(images.ids))


def test_scores_are_those_that_the_metric_reports(config, tmp_path):
    config.test_evaluator = []
    images, seeds = load_tagged_images(config), random_store(tmp_path / 's')
    masks = masks_of_all(config, images, 'SegmentationClass')
    figures = figures_of_the_metric(seeds, images, masks)
    rules = dict(gt_free=choose_background('gt_free', config, seeds, images))
    rules['best'] = choose_background('searched', config, seeds, images, masks=masks)
    for protocol, found in rules.items():
        assert found.threshold == figures[f'seed/threshold_{protocol}']
        assert 0 < found.threshold < 0.9
    assert rules['best'].threshold != rules['gt_free'].threshold


def choose_both(rank, config_file, folder):
    config = Config.fromfile(config_file)
    init_default_scope('mmwsss')
    images = load_tagged_images(config)
    seeds = ArtefactStore.open(f'{folder}/s', SeedCodec())
    masks = masks_of_all(config, images, 'SegmentationClass')
    chosen = [
        choose_background('gt_free', config, seeds, images),
        choose_background('searched', config, seeds, images, masks=masks),
    ]
    return [(score.threshold, score.num_images) for score in chosen]


def test_two_processes_choose_what_one_does(config, tmp_path, monkeypatch):
    random_store(tmp_path / 's')
    arguments = (str(tmp_path / 'tiny.py'), str(tmp_path))
    one = choose_both(0, *arguments)
    (tmp_path / 'pair').mkdir()
    assert run_joined(choose_both, tmp_path / 'pair', *arguments) == [one, one]
    assert [count for _, count in one] == [4, 4]


def test_manifest_says_how_the_score_was_chosen(config, tmp_path):
    images, seeds = load_tagged_images(config), random_store(tmp_path / 's')
    refiner = ThresholdRefiner(background_threshold=0.25)
    score = BackgroundScore('searched', 0.25, 4)
    manifest = generate_labels(
        seeds, images, refiner, tmp_path / 'out', background=score
    )
    assert manifest == json.loads((tmp_path / 'out/labels.json').read_text())
    assert manifest['background_score'] == dict(
        rule='searched', threshold=0.25, num_images=4
    )
    assert manifest['extra_supervision'] == 'masks (threshold searched)'
    score = BackgroundScore('gt_free', 0.25, 4)
    manifest = generate_labels(
        seeds, images, refiner, tmp_path / 'out', background=score
    )
    assert manifest['background_score']['rule'] == 'gt_free'
    assert manifest['extra_supervision'] is None
    assert 'background_score' not in generate_labels(
        seeds, images, refiner, tmp_path / 'out'
    )


def test_supervision_of_refiner_and_score_are_both_named(config, tmp_path):
    images, seeds = load_tagged_images(config), random_store(tmp_path / 's')
    saliency = tmp_path / 'saliency'
    saliency.mkdir()
    for name, (height, width) in zip(IDS, SIZES):
        Image.new('L', (width, height), 85).save(saliency / f'{name}.png')
    manifest = generate_labels(
        seeds,
        images,
        SaliencyRefiner(folder=str(saliency), crf=None, least_share=0.0),
        tmp_path / 'out',
        background=BackgroundScore('searched', 0.3, 4),
    )
    assert manifest['extra_supervision'] == 'saliency, masks (threshold searched)'


@pytest.mark.parametrize(
    ('given', 'masks', 'expected'),
    [(0.3, None, None), ('gt_free', None, 'gt_free'), ('searched', 'm', 'searched')],
)
def test_rules_in_config_and_on_the_command_line(given, masks, expected):
    settings = refiner_settings(
        Config(dict(refiner=dict(type='threshold', background_threshold=given)))
    )
    assert background_rule(settings, masks) == expected
    settings = refiner_settings(
        Config({}), name='threshold', background_threshold=score_or_rule(str(given))
    )
    assert background_rule(settings, masks) == expected
    assert background_rule(dict(type='threshold'), None) is None


@pytest.mark.parametrize(
    ('given', 'masks', 'message'),
    [
        (
            'otsu',
            None,
            r'expected a number in \[0, 1\], searched or gt_free, got .otsu',
        ),
        ('searched', None, "'searched' compares seeds with masks: name their folder"),
        ('gt_free', 'm', '--masks m would not be read: add --background-threshold'),
        (0.3, 'm', '--masks m would not be read'),
    ],
)
def test_rules_that_cannot_be_followed(given, masks, message):
    with pytest.raises(ConfigError, match=message):
        background_rule(dict(background_threshold=given), masks)


def test_masks_that_are_missing_or_do_not_fit(config, tmp_path):
    images, seeds = load_tagged_images(config), random_store(tmp_path / 's')
    folder = row_masks(tmp_path / 'm')
    masks = masks_of_all(config, images, folder)
    with pytest.raises(DataError, match=rf'mask {folder}/{IDS[0]}.png is 4x1, its im'):
        choose_background('searched', config, seeds, images, masks=masks)
    (tmp_path / f'm/{IDS[2]}.png').unlink()
    message = f'1 of 4 images, as {IDS[2]}, have no mask in {folder}: name the folder'
    with pytest.raises(DataError, match=message):
        masks_of_all(config, images, folder)
    with pytest.raises(DataError, match='nowhere does not exist'):
        masks_of_all(config, images, 'nowhere')


def test_mask_with_a_label_of_no_class(config, tmp_path):
    images, seeds = load_tagged_images(config), row_store(tmp_path / 's')
    rows = [*MASKS[:3], [0, 20, 21, 255]]
    masks = masks_of_all(config, images, row_masks(tmp_path / 'm', rows))
    with pytest.raises(DataError, match=rf'{IDS[3]}.jpg: gt: expected labels 0..20 or'):
        choose_background('searched', config, seeds, images, masks=masks)
