"""Seeds against loops over pixels and thresholds, and against the reference arrays."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from mmwsss.functional import seeds

REFERENCE = Path(__file__).parents[1] / 'data' / 'seed_curve.npz'
IGNORE = 255
GRID = torch.tensor([i / 100 for i in range(100)], dtype=torch.float32)


def random_image(seed, *, classes=(0, 2, 3), size=(9, 11), num_classes=6):
    """Scores on and off the grid, with ties, zeros, and a band that is ignored."""
    rng = np.random.default_rng(seed)
    scores = rng.random((len(classes), *size)).astype(np.float32)
    scores[:, :4] = rng.integers(0, 100, (len(classes), 4, size[1])) / 100
    if len(classes) > 1:
        scores[1, :, :3] = scores[0, :, :3]
    scores[:, -1] = 0
    gt = rng.integers(0, num_classes - 1, size)
    gt[:, 5] = IGNORE
    return torch.from_numpy(scores), classes, torch.from_numpy(gt)


def loop_label(scores, classes, threshold, num_classes):
    """Argmax over all planes, one pixel at a time, the first index wins."""
    _, height, width = scores.shape
    label = np.zeros((height, width), dtype=np.int64)
    for row in range(height):
        for column in range(width):
            planes = [np.float32(threshold)] + [np.float32(0)] * (num_classes - 1)
            for index, score in zip(classes, scores):
                planes[index + 1] = np.float32(score[row, column].item())
            best = 0
            for candidate in range(num_classes):
                if planes[candidate] > planes[best]:
                    best = candidate
            label[row, column] = best
    return label


def loop_counts(images, thresholds, num_classes):
    counts = np.zeros((3, len(thresholds), num_classes), dtype=np.int64)
    for scores, classes, gt in images:
        for step, threshold in enumerate(thresholds):
            label = loop_label(scores, classes, threshold, num_classes)
            for predicted, truth in zip(label.ravel(), gt.numpy().ravel()):
                if truth != IGNORE:
                    counts[0, step, truth] += predicted == truth
                    counts[1, step, predicted] += 1
                    counts[2, step, truth] += 1
    return counts


def histogram_of(images, num_classes=6, thresholds=GRID):
    return sum(
        seeds.seed_histogram(
            *image, thresholds, num_classes=num_classes, ignore_index=IGNORE
        )
        for image in images
    )


@pytest.mark.parametrize('threshold', [0.0, 0.29, 0.57, 0.58, 0.99])
def test_label_map_is_the_first_maximum_over_planes(threshold):
    scores, classes, _ = random_image(0)
    expected = loop_label(scores, classes, threshold, 6)
    assert (seeds.label_map(scores, classes, threshold).numpy() == expected).all()


def test_curve_equals_a_loop_over_pixels():
    images = [
        random_image(1),
        random_image(2, classes=(4,)),
        random_image(3, classes=()),
    ]
    thresholds = [0.0, 0.01, 0.29, 0.58, 0.99]
    grid = torch.tensor(thresholds, dtype=torch.float32)
    curve = seeds.threshold_curve(histogram_of(images, thresholds=grid))
    expected = loop_counts(images, thresholds, 6)
    for got, want in zip(curve, expected):
        assert got.dtype == torch.int64
        assert (got.numpy() == want).all()


def test_every_threshold_of_the_grid_agrees_with_label_map():
    scores, classes, gt = random_image(4, size=(30, 31))
    curve = seeds.threshold_curve(histogram_of([(scores, classes, gt)]))
    judged = gt != IGNORE
    for step in range(len(GRID)):
        label = seeds.label_map(scores, classes, step / 100)[judged]
        hits = label[label == gt[judged]]
        assert torch.equal(curve.tp[step], hits.bincount(minlength=6))
        assert torch.equal(curve.predicted[step], label.bincount(minlength=6))


def test_score_on_a_threshold_is_background_in_float32_only():
    scores = GRID[None, None].clone()
    curve = seeds.threshold_curve(
        histogram_of([(scores, (0,), torch.ones(1, 100))], num_classes=2)
    )
    expected = [99 - step for step in range(100)]
    assert curve.tp[:, 1].tolist() == expected
    grid = torch.arange(100, dtype=torch.float64)[:, None] / 100
    in_float64 = (scores[0].double() > grid).sum(1)
    assert in_float64.tolist() != expected


def test_equal_classes_go_to_the_lower_index():
    scores = torch.full((2, 1, 1), 0.7)
    assert seeds.label_map(scores, (1, 4), 0.5).item() == 2
    histogram = histogram_of([(scores, (1, 4), torch.tensor([[5]]))])
    assert histogram.nonzero().tolist() == [[2, 5, 70]]


def test_pixels_below_every_threshold_have_no_winner():
    grid = torch.tensor([0.5])
    image = (torch.full((1, 1, 2), 0.5), (3,), torch.tensor([[4, IGNORE]]))
    histogram = histogram_of([image], thresholds=grid)
    assert histogram.nonzero().tolist() == [[0, 4, 0], [0, 6, 0]]


def test_score_counts_know_nothing_of_the_masks():
    scores, classes, gt = random_image(5)
    blank = torch.full_like(gt, IGNORE)
    counts = seeds.score_counts(histogram_of([(scores, classes, gt)]))
    assert torch.equal(
        counts, seeds.score_counts(histogram_of([(scores, classes, blank)]))
    )
    best = scores.amax(0).numpy().ravel()
    expected = [sum(t < score for t in GRID.numpy()) for score in best]
    assert counts.tolist() == np.bincount(expected, minlength=101).tolist()


def test_curve_equals_the_reference_arrays():
    with np.load(REFERENCE) as file:
        data = dict(file)
    images = [
        (
            torch.from_numpy(data[f'image/{index:02}/score']),
            tuple(data[f'image/{index:02}/classes'].tolist()),
            torch.from_numpy(data[f'image/{index:02}/gt']),
        )
        for index in range(int(data['num_images']))
    ]
    curve = seeds.threshold_curve(histogram_of(images, num_classes=21))
    rates = seeds.class_rates(curve)
    best = int(rates.iou.mean(1).argmax())
    assert best == data['official/best_index']
    for name in ('tp', 'predicted', 'labelled'):
        assert (getattr(curve, name).numpy() == data[f'official/{name}']).all()
    for got, key in (
        (100 * rates.iou, 'official/iou'),
        (100 * rates.iou.mean(1), 'official/miou'),
        (100 * seeds.mean_over_occurring(rates.iou, curve), 'derived/miou_present'),
        (rates.fp_share[best], 'official/best_fp_share'),
        (rates.fn_share[best], 'official/best_fn_share'),
        (rates.precision[best], 'derived/best_precision'),
        (rates.recall[best], 'derived/best_recall'),
    ):
        np.testing.assert_allclose(got, data[key], rtol=0, atol=1e-9)


def test_rates_of_absent_and_unseen_classes():
    curve = seeds.ThresholdCurve(
        tp=torch.tensor([[3, 0, 0, 0]]),
        predicted=torch.tensor([[4, 0, 2, 0]]),
        labelled=torch.tensor([[5, 1, 0, 0]]),
    )
    rates = seeds.class_rates(curve)
    np.testing.assert_allclose(rates.iou[0], [0.5, 0, 0, 0], atol=1e-9)
    np.testing.assert_allclose(rates.precision[0], [0.75, np.nan, 0, np.nan])
    np.testing.assert_allclose(rates.recall[0], [0.6, 0, np.nan, np.nan])
    np.testing.assert_allclose(rates.fp_share[0], [1 / 6, 0, 1, 0], atol=1e-9)
    np.testing.assert_allclose(rates.fn_share[0], [1 / 3, 1, 0, 0], atol=1e-9)
    # the last class occurs nowhere; precision is undefined for the second
    assert seeds.mean_over_occurring(rates.iou, curve).item() == pytest.approx(0.5 / 3)
    precision = seeds.mean_over_occurring(rates.precision, curve).item()
    assert precision == pytest.approx(0.375)


def brute_force_otsu(counts, thresholds):
    """Largest between-class variance over explicit groups of pixels, in float64."""
    edges = [0.0, *thresholds.tolist(), 1.0]
    pixels = [
        (bin_, (edges[bin_] + edges[bin_ + 1]) / 2)
        for bin_, count in enumerate(counts)
        for _ in range(count)
    ]
    variances = []
    for index in range(len(thresholds)):
        low = [value for bin_, value in pixels if bin_ <= index]
        high = [value for bin_, value in pixels if bin_ > index]
        if not low or not high:
            variances.append(0.0)
            continue
        distance = sum(low) / len(low) - sum(high) / len(high)
        variances.append(len(low) * len(high) / len(pixels) ** 2 * distance**2)
    return variances


@pytest.mark.parametrize('seed', range(8))
def test_otsu_equals_brute_force(seed):
    rng = np.random.default_rng(seed)
    low = rng.normal(0.2 + 0.02 * seed, 0.08, 200 + 40 * seed)
    high = rng.normal(0.7, 0.1, 150)
    values = torch.from_numpy(np.concatenate([low, high]).clip(0, 1)).float()
    counts = torch.bucketize(values, GRID).bincount(minlength=101)
    variances = brute_force_otsu(counts.tolist(), GRID)
    assert seeds.otsu_threshold(counts, GRID) == int(np.argmax(variances))


def test_otsu_on_two_values_and_on_one():
    counts = torch.zeros(101, dtype=torch.int64)
    counts[20], counts[81] = 5, 3
    # every threshold between the two parts them alike, the first is taken
    assert seeds.otsu_threshold(counts, GRID) == 20
    counts[81] = 0
    assert seeds.otsu_threshold(counts, GRID) == 0


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        (dict(scores=torch.zeros(1, 2, 2).double()), 'scores: expected float32'),
        (dict(scores=torch.zeros(2, 2, 2)), 'scores: expected shape (1, H, W)'),
        (dict(scores=torch.full((1, 2, 2), torch.nan)), 'scores: expected finite'),
        (dict(classes=(5,)), 'classes: expected 0..4'),
        (dict(gt=torch.zeros(3, 2)), 'gt: expected shape (2, 2), got (3, 2)'),
        (dict(gt=torch.full((2, 2), 6)), 'gt: expected labels 0..5 or 255, got [6]'),
        (dict(gt=torch.full((2, 2), -1)), 'gt: expected labels 0..5 or 255'),
        (dict(thresholds=GRID.double()), 'thresholds: expected float32'),
        (dict(thresholds=GRID.flip(0)), 'thresholds: expected ascending'),
        (dict(thresholds=torch.tensor([-0.1])), 'thresholds: expected ascending'),
        (dict(thresholds=torch.tensor([])), 'thresholds: expected ascending'),
    ],
)
def test_histogram_names_what_is_wrong(changed, message):
    arguments = dict(
        scores=torch.zeros(1, 2, 2),
        classes=(0,),
        gt=torch.zeros(2, 2),
        thresholds=GRID,
        num_classes=6,
        ignore_index=IGNORE,
    )
    seeds.seed_histogram(**arguments)
    with pytest.raises(ValueError, match=re.escape(message)):
        seeds.seed_histogram(**(arguments | changed))


def test_label_at_num_classes_is_not_taken_for_ignored():
    with pytest.raises(ValueError, match=r'got \[2\]'):
        histogram_of([(torch.zeros(1, 1, 1), (0,), torch.tensor([[2]]))], num_classes=2)


def test_shapes_of_counts_are_checked():
    with pytest.raises(ValueError, match='histogram: expected shape'):
        seeds.threshold_curve(torch.zeros(2, 2, 3))
    with pytest.raises(ValueError, match='counts: expected shape'):
        seeds.otsu_threshold(torch.zeros(100), GRID)
    with pytest.raises(ValueError, match='at least one pixel'):
        seeds.otsu_threshold(torch.zeros(101), GRID)
