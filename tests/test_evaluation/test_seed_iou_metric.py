"""The seed metric against pixel loops, and the errors it names."""

import re

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from seed_samples import CLASSES, IGNORE, evaluate, make_metric, make_sample

from mmwsss.evaluation.metrics import SeedIoUMetric
from mmwsss.functional.localization import maps_to_image
from mmwsss.registry import METRICS
from mmwsss.utils.errors import ConfigError, DataError


def image_scores(sample):
    """Every class's plane (C, H, W) as numpy float32, absent classes 0."""
    found = sample['localization']
    size = dict(img_shape=sample['img_shape'], ori_shape=sample['ori_shape'])
    maps = maps_to_image(
        found['data'].float(),
        input_shape=found['input_shape'],
        align_corners=found['align_corners'],
        **size,
    )
    planes = np.zeros((len(CLASSES), *sample['ori_shape']), np.float32)
    for tag, plane in zip(found['classes'], maps.numpy()):
        planes[tag + 1] = plane
    return planes


def expected_percent(samples, threshold):
    """IoU (C,) by an argmax over all planes, and the mask of occurring classes."""
    confusion = np.zeros((len(CLASSES), len(CLASSES)))
    for sample in samples:
        planes = image_scores(sample)
        planes[0] = np.float32(threshold)
        gt = sample['gt_sem_seg']['data'][0].numpy()
        label = planes.argmax(0)
        for truth, predicted in zip(gt[gt != IGNORE], label[gt != IGNORE]):
            confusion[truth, predicted] += 1
    tp = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - tp
    return 100 * tp / np.maximum(union, 1), union > 0


def test_protocols_equal_a_loop_over_thresholds():
    samples = [make_sample(index) for index in range(4)]
    for sample in samples:
        # objects reach far below Otsu's threshold, so that the protocols differ
        planes = image_scores(sample)
        planes[0] = 0.15
        objects = torch.from_numpy(planes.argmax(0))
        sample['gt_sem_seg']['data'][0, 6:] = objects[6:]
    grid = [step / 10 for step in range(10)]
    scalars = evaluate(make_metric(thresholds=grid, fixed_threshold=0.9), samples)
    results = [expected_percent(samples, threshold) for threshold in grid]
    means = [iou.mean() for iou, _ in results]
    steps = {
        'best': int(np.argmax(means)),
        'fixed': 9,
        'gt_free': grid.index(scalars['seed/threshold_gt_free']),
    }
    for protocol, step in steps.items():
        iou, occurs = results[step]
        assert scalars[f'seed/threshold_{protocol}'] == grid[step]
        assert scalars[f'seed/mIoU_{protocol}'] == pytest.approx(means[step])
        occurring = scalars[f'seed/mIoU_occurring_{protocol}']
        assert occurring == pytest.approx(iou[occurs].mean())
        shares = [scalars[f'seed/{name}_{protocol}'] for name in ('mFP', 'mFN')]
        assert occurring + sum(shares) == pytest.approx(100)
    assert len(set(steps.values())) == 3


def test_gt_free_threshold_reads_no_mask():
    samples = [make_sample(index) for index in range(4)]
    name = 'seed/threshold_gt_free'
    before = evaluate(make_metric(), samples)[name]
    for sample in samples:
        mask = sample['gt_sem_seg']['data']
        mask[mask == 1] = IGNORE
        mask[mask == 2] = 0
    assert evaluate(make_metric(), samples)[name] == before
    best = np.concatenate([image_scores(sample).max(0).ravel() for sample in samples])
    variances = []
    for threshold in np.arange(1, 99) / 100:
        low, high = best[best <= threshold], best[best > threshold]
        distance = low.mean() - high.mean()
        variances.append(len(low) * len(high) * distance**2)
    # the metric's scores are rounded to their bins
    assert before == pytest.approx((1 + np.argmax(variances)) / 100, abs=0.02)


def test_state_starts_afresh_after_evaluate():
    metric = make_metric()
    first = evaluate(metric, [make_sample(0), make_sample(1)])
    evaluate(metric, [make_sample(3)])
    assert evaluate(metric, [make_sample(0), make_sample(1)]) == first


def test_half_precision_maps_are_judged_in_float32():
    samples = [make_sample(index, torch.float16) for index in range(4)]
    scalars = evaluate(make_metric(thresholds=[0.5]), samples)
    assert scalars['seed/mIoU_best'] == pytest.approx(
        expected_percent(samples, 0.5)[0].mean()
    )


def test_registry_builds_it_and_refuses_a_mistyped_key():
    metric = METRICS.build(dict(type='SeedIoUMetric', prefix='cam'))
    metric.dataset_meta = dict(classes=CLASSES)
    assert 'cam/mIoU_best' in evaluate(metric, [make_sample(0)])
    with pytest.raises(TypeError, match='fixed_treshold'):
        METRICS.build(dict(type='SeedIoUMetric', fixed_treshold=0.4))


def test_evaluator_hands_over_our_samples():
    structures = pytest.importorskip('mmwsss.structures')
    from mmengine.structures import PixelData

    samples = [make_sample(index) for index in range(3)]
    objects = []
    for sample in samples:
        found = dict(sample['localization'])
        item = structures.WSSSDataSample(
            gt_sem_seg=PixelData(data=sample['gt_sem_seg']['data'])
        )
        keys = ('sample_idx', 'img_path', 'img_shape', 'ori_shape')
        item.set_metainfo({key: sample[key] for key in keys})
        objects.append(item.set_localization(found.pop('data'), **found))
    evaluator = Evaluator([SeedIoUMetric()])
    evaluator.dataset_meta = dict(classes=CLASSES)
    evaluator.process(objects)
    assert evaluator.evaluate(3) == evaluate(make_metric(), samples)


def changed_sample(**changes):
    sample = make_sample(0)
    sample['localization'] = sample['localization'] | changes.pop('localization', {})
    return {k: v for k, v in (sample | changes).items() if v is not None}


@pytest.mark.parametrize(
    ('changes', 'parts'),
    [
        (dict(gt_sem_seg=None), ('no gt_sem_seg', 'LoadAnnotations')),
        (dict(img_shape=None), ('no img_shape', 'meta_keys')),
        (
            dict(gt_sem_seg=dict(data=torch.zeros(1, 5, 6))),
            ('(5, 6)', '(20, 30)', 'after Resize'),
        ),
        (
            dict(gt_sem_seg=dict(data=torch.full((1, 20, 30), 77))),
            ('labels 0..4 or 255, got [77]',),
        ),
        (dict(localization=dict(classes=(4,))), ('classes: expected 0..3', '(4,)')),
        (dict(img_shape=(99, 99)), ('img_shape (99, 99) exceeds',)),
        (
            dict(localization=dict(data=torch.full((1, 4, 5), torch.nan))),
            ('scores: expected finite',),
        ),
    ],
)
def test_contradicting_sample_is_named(changes, parts):
    with pytest.raises(DataError, match='/images/0.jpg') as caught:
        make_metric().process({}, [changed_sample(**changes)])
    for part in parts:
        assert part in str(caught.value)


def test_sample_without_maps_or_name_is_refused():
    sample = make_sample(0)
    del sample['localization']
    with pytest.raises(DataError, match='/images/0.jpg: no localization'):
        make_metric().process({}, [sample])
    with pytest.raises(DataError, match="neither 'img_path' nor 'sample_idx'"):
        make_metric().process({}, [changed_sample(img_path=None, sample_idx=None)])
    # the index alone is name enough
    evaluate(make_metric(), [changed_sample(img_path=None)])


def test_data_set_without_images_or_classes_is_refused():
    with pytest.raises(DataError, match='no image was evaluated'):
        make_metric().evaluate(0)
    with pytest.raises(DataError, match='names no classes'):
        SeedIoUMetric().process({}, [make_sample(0)])


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(thresholds=[0.5, 0.2]), 'expected ascending'),
        (dict(thresholds=[]), 'expected ascending'),
        (dict(thresholds=[0.2, 1.5]), 'expected ascending'),
        (dict(fixed_threshold=0.333), 'fixed_threshold=0.333 is not one of'),
    ],
)
def test_thresholds_are_checked_when_the_config_is_built(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        SeedIoUMetric(**settings)
