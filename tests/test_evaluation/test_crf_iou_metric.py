"""Predictions behind the dense CRF, against the package itself and counted pixels."""

import math
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mmwsss.evaluation.metrics import CRFIoUMetric
from mmwsss.registry import METRICS
from mmwsss.utils.errors import ConfigError, DataError, DependencyError

CLASSES = ('background', 'cat', 'dog', 'cow')
SIZE = (24, 31)


def make_sample(folder, seed):
    """An image of two boxes, noisy logits that follow them, and the mask."""
    random = np.random.default_rng(seed)
    mask = np.zeros(SIZE, np.int64)
    mask[4:18, 3:14], mask[8:22, 16:28] = 1, 2
    image = random.integers(0, 40, (*SIZE, 3)) + 70 * mask[..., None]
    path = folder / f'{seed}.png'
    Image.fromarray(image.astype(np.uint8)).save(path)
    logits = random.normal(size=(len(CLASSES), *SIZE))
    for c in range(3):
        logits[c] += 1.5 * (mask == c)
    mask[0] = 255
    logits = torch.from_numpy(logits).float()
    return dict(
        img_path=str(path),
        seg_logits=dict(data=logits),
        pred_sem_seg=dict(data=logits.argmax(0, keepdim=True)),
        gt_sem_seg=dict(data=torch.from_numpy(mask)[None]),
    )


@pytest.fixture
def samples(tmp_path):
    return [make_sample(tmp_path, seed) for seed in range(3)]


def label_of(sample, numbers=(1, 3, 67, 3, 4), iterations=10):
    """What the package makes of the softmax of a sample's logits."""
    crf_module = pytest.importorskip('pydensecrf.densecrf')
    utils = pytest.importorskip('pydensecrf.utils')
    logits = sample['seg_logits']['data'].double().numpy()
    scores = np.exp(logits) / np.exp(logits).sum(0)
    image = np.array(Image.open(sample['img_path']).convert('RGB'))
    crf = crf_module.DenseCRF2D(*image.shape[1::-1], len(scores))
    crf.setUnaryEnergy(utils.unary_from_softmax(scores.astype(np.float32)))
    crf.addPairwiseGaussian(*numbers[:2])
    crf.addPairwiseBilateral(*numbers[2:4], image, numbers[4])
    return np.array(crf.inference(iterations)).reshape(scores.shape).argmax(0)


def figures_of(samples, labels):
    """IoU and accuracy of each class in percent, None where it occurs nowhere."""
    iou, accuracy = {}, {}
    masks = [sample['gt_sem_seg']['data'][0].numpy() for sample in samples]
    pairs = [(m[m != 255], label[m != 255]) for m, label in zip(masks, labels)]
    truth, found = (np.concatenate(parts) for parts in zip(*pairs))
    for c, name in enumerate(CLASSES):
        both = ((truth == c) & (found == c)).sum()
        either = ((truth == c) | (found == c)).sum()
        iou[name] = 100 * both / either if either else None
        accuracy[name] = 100 * both / (truth == c).sum() if (truth == c).any() else None
    return iou, accuracy, 100 * (truth == found).mean()


def evaluate(metric, samples):
    metric.dataset_meta = dict(classes=CLASSES)
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(len(samples))


def check(figures, samples, labels):
    iou, accuracy, overall = figures_of(samples, labels)
    approx = dict(abs=0.005)
    assert figures['aAcc'] == pytest.approx(overall, **approx)
    known = [value for value in iou.values() if value is not None]
    assert figures['mIoU'] == pytest.approx(np.mean(known), **approx)
    for name in CLASSES:
        for kind, values in (('IoU', iou), ('Acc', accuracy)):
            found = figures[f'{kind}_classwise'][name]
            if values[name] is None:
                assert found is None
            else:
                assert found == pytest.approx(values[name], **approx)


def test_figures_are_those_of_the_package(samples):
    labels = [label_of(sample) for sample in samples]
    plain = [sample['pred_sem_seg']['data'][0].numpy() for sample in samples]
    check(evaluate(CRFIoUMetric(), samples), samples, labels)
    gained = figures_of(samples, labels)[2] - figures_of(samples, plain)[2]
    assert gained > 5


def test_settings_reach_the_package(samples):
    numbers = (2, 5, 9, 30, 6)
    settings = dict(
        preset='irn',
        gauss_sxy=2,
        gauss_compat=5,
        bilateral_sxy=9,
        bilateral_srgb=30,
        bilateral_compat=6,
        iterations=2,
    )
    labels = [label_of(sample, numbers, 2) for sample in samples]
    check(evaluate(CRFIoUMetric(**settings), samples), samples, labels)
    usual = [label_of(sample) for sample in samples]
    assert any((a != b).any() for a, b in zip(labels, usual))
    given = evaluate(CRFIoUMetric(preset='irn'), samples)
    check(given, samples, [label_of(s, (3, 3, 50, 5, 10)) for s in samples])


def test_logits_that_look_like_probabilities_pass_through_softmax_too(samples):
    """Otherwise figures would jump where logits happen to lie in [0, 1]."""
    for sample in samples:
        data = sample['seg_logits']['data'].softmax(0)
        sample['seg_logits']['data'] = data
    labels = [label_of(sample) for sample in samples]
    check(evaluate(CRFIoUMetric(), samples), samples, labels)


def test_several_processes_give_the_same(samples):
    pytest.importorskip('pydensecrf.densecrf')
    alone, metric = evaluate(CRFIoUMetric(), samples), CRFIoUMetric(jobs=2)
    assert evaluate(metric, samples) == alone
    # nothing is left of them, and the next test starts afresh
    assert (metric._pool, len(metric._waiting), metric.results) == (None, 0, [])


def test_refined_labels_are_written_without_masks(samples, tmp_path):
    labels = [label_of(sample) for sample in samples]
    metric = CRFIoUMetric(format_only=True, output_dir=str(tmp_path / 'out'))
    metric.dataset_meta = dict(classes=CLASSES)
    for sample in samples:
        metric.process({}, [{k: v for k, v in sample.items() if k != 'gt_sem_seg'}])
    assert metric.compute_metrics([]) == {}
    for seed, label in enumerate(labels):
        written = np.array(Image.open(tmp_path / f'out/{seed}.png'))
        np.testing.assert_array_equal(written, label)


def without(sample, key):
    return {k: v for k, v in sample.items() if k != key}


def other_size(sample):
    Image.new('RGB', (10, 10)).save(sample['img_path'])
    return sample


def fewer_classes(sample):
    return dict(sample, seg_logits=dict(data=sample['seg_logits']['data'][:1]))


def one_view(sample):
    """mmseg's own merging: labels of the average, logits of one view."""
    turned = sample['seg_logits']['data'].flip(2)
    return dict(sample, seg_logits=dict(data=turned))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda s: without(s, 'img_path'), "no 'img_path'; add it to the packing"),
        (lambda s: dict(s, img_path='gone.jpg'), 'image not found: gone.jpg; restore'),
        (lambda s: without(s, 'seg_logits'), '0.png: no seg_logits; the model must'),
        (other_size, r'0.png: expected .* \(4, 10, 10\), .* got \(4, 24, 31\)'),
        (fewer_classes, r'expected seg_logits of \(4, 24, 31\), .* got \(1, 24, 31\)'),
        (one_view, r"not the argmax of seg_logits.*\(type='mmwsss.MergingTTAModel'\)"),
    ],
)
def test_unusable_samples(samples, change, message):
    pytest.importorskip('pydensecrf.densecrf')
    metric = CRFIoUMetric()
    metric.dataset_meta = dict(classes=CLASSES)
    with pytest.raises(DataError, match=message):
        metric.process({}, [change(samples[0])])


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(preset='crf'), 'CRFIoUMetric.preset: expected one of cam, irn, deeplab'),
        (dict(bilateral_srgb=math.nan), 'CRFIoUMetric.bilateral_srgb: expected > 0'),
        (dict(iterations=0), 'CRFIoUMetric.iterations: expected >= 1, got 0'),
        (dict(jobs=0), 'CRFIoUMetric.jobs: expected >= 1, got 0'),
    ],
)
def test_unusable_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        CRFIoUMetric(**settings)


def test_mistyped_setting_is_refused():
    with pytest.raises(TypeError, match='iteration'):
        CRFIoUMetric(iteration=5)


def test_absent_package_is_told_at_the_first_image(samples, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pydensecrf.densecrf', None)
    metric = METRICS.build(dict(type='CRFIoUMetric'))
    metric.dataset_meta = dict(classes=CLASSES)
    with pytest.raises(DependencyError) as caught:
        metric.process({}, samples)
    text = str(caught.value)
    assert text.startswith('CRFIoUMetric needs the package pydensecrf (')
    assert "'mmwsss[crf]'" in text and 'mmwsss.ClassIoUMetric' in text
