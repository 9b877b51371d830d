"""Seeds: class scores and a background threshold to labels, for all thresholds at once.

The winner among the foreground classes does not depend on the threshold, so one
histogram of (winner, ground truth, score bin) holds every label map of the grid.
Thresholds are compared in float32, the type of the scores: float64 grid values lie
beside the scores' own and would move pixels that sit on the grid.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmwsss.functional.checks import check_shape


class ThresholdCurve(NamedTuple):
    """Pixel counts at each threshold, ignored pixels left out.

    Attributes:
        tp: (T, C) int64, pixels labelled correctly.
        predicted: (T, C) int64, pixels given to the class.
        labelled: (T, C) int64, pixels of the class in the ground truth.
    """

    tp: Tensor
    predicted: Tensor
    labelled: Tensor


class ClassRates(NamedTuple):
    """Rates of each class at each threshold, all (T, C) float64 in [0, 1].

    Attributes:
        iou: Intersection over union; 0 for a class without any pixel.
        precision: tp / predicted; NaN where nothing is predicted.
        recall: tp / labelled; NaN where nothing is labelled.
        fp_share: False positives over the union; 0 for a class without any pixel.
        fn_share: False negatives over the union; 0 for a class without any pixel.
    """

    iou: Tensor
    precision: Tensor
    recall: Tensor
    fp_share: Tensor
    fn_share: Tensor


def check_thresholds(thresholds: Tensor) -> None:
    """Check a grid of thresholds: (T,) float32, in [0, 1], strictly ascending.

    Raises:
        ValueError: if the grid is anything else; below 0 an absent class, whose score
            is 0, would beat the background.

    Example:
        >>> check_thresholds(torch.tensor([0.5, 0.5]))
        Traceback (most recent call last):
        ...
        ValueError: thresholds: expected ascending values in [0, 1], got [0.5, 0.5]
    """
    check_shape('thresholds', thresholds, ('T',))
    if thresholds.dtype != torch.float32:
        raise ValueError(f'thresholds: expected float32, got {thresholds.dtype}')
    inside = len(thresholds) > 0 and thresholds[0] >= 0 and thresholds[-1] <= 1
    if not inside or not bool((thresholds.diff() > 0).all()):
        raise ValueError(
            f'thresholds: expected ascending values in [0, 1], got '
            f'{thresholds.tolist()}'
        )


def label_map(scores: Tensor, classes: Sequence[int], threshold: float) -> Tensor:
    """Label each pixel with its first best plane, the background plane coming first.

    A score equal to the threshold is background; of equal classes the first wins.

    Args:
        scores: (k, H, W) float32 in [0, 1], one map a present class.
        classes: k ascending foreground classes, counted without the background.
        threshold: Background score in [0, 1], rounded to float32.

    Returns:
        (H, W) int64, 0 = background, class + 1 elsewhere.

    Raises:
        ValueError: if ``scores`` is not (k, H, W) finite float32.

    Example:
        >>> scores = torch.tensor([[[0.2, 0.5, 0.7]], [[0.1, 0.5, 0.9]]])
        >>> label_map(scores, (3, 8), 0.2)
        tensor([[0, 4, 9]])
    """
    score, position = _winner(scores, classes)
    labels = torch.tensor([0, *(c + 1 for c in classes)], device=scores.device)
    above = score > torch.tensor(threshold, dtype=torch.float32, device=scores.device)
    return labels[torch.where(above, position, 0)]


def seed_histogram(
    scores: Tensor,
    classes: Sequence[int],
    gt: Tensor,
    thresholds: Tensor,
    *,
    num_classes: int,
    ignore_index: int,
) -> Tensor:
    """Count an image's pixels by (winner, ground truth, score bin).

    The bin is the number of thresholds strictly below the winning score, compared in
    float32: at threshold ``i`` a pixel goes to its winner if its bin exceeds ``i``,
    else to the background. Histograms of images add up.

    Args:
        scores: (k, H, W) float32 in [0, 1], one map a present class.
        classes: k ascending foreground classes, counted without the background.
        gt: (H, W) integer labels, 0 = background, class + 1 elsewhere.
        thresholds: (T,) float32, ascending, in [0, 1].
        num_classes: C, the classes of the data set, background included.
        ignore_index: Ground truth of pixels that are not judged.

    Returns:
        (C, C + 1, T + 1) int64. Winner 0 stands for pixels whose score exceeds no
        threshold; the last ground truth is that of the ignored pixels, so that the
        sum over the ground truth knows nothing of the masks.

    Raises:
        ValueError: if a shape or type differs, or a class, label or score is outside
            its range.

    Example:
        >>> histogram = seed_histogram(
        ...     torch.tensor([[[0.2, 0.9]]]), (0,), torch.tensor([[0, 255]]),
        ...     torch.tensor([0.0, 0.5]), num_classes=2, ignore_index=255,
        ... )
        >>> histogram.nonzero().tolist()
        [[1, 0, 1], [1, 2, 2]]
    """
    check_thresholds(thresholds)
    score, position = _winner(scores, classes)
    check_shape('gt', gt, tuple(score.shape))
    if any(not 0 <= index < num_classes - 1 for index in classes):
        raise ValueError(
            f'classes: expected 0..{num_classes - 2} without background, got '
            f'{tuple(classes)}'
        )
    gt = _judged_labels(gt.to(scores.device), num_classes, ignore_index)
    bins = torch.bucketize(score, thresholds.to(score.device), right=False)
    position = torch.where(bins > 0, position, 0)
    size = (len(classes) + 1, num_classes + 1, len(thresholds) + 1)
    flat = (position * size[1] + gt) * size[2] + bins
    counts = torch.bincount(flat.flatten(), minlength=size[0] * size[1] * size[2])
    histogram = counts.new_zeros((num_classes, *size[1:]))
    histogram[[0, *(index + 1 for index in classes)]] = counts.reshape(size)
    return histogram


def _judged_labels(gt: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Move the ignored label behind the classes, which are checked for their range."""
    gt = gt.long()
    ignored = gt == ignore_index
    outside = gt[((gt < 0) | (gt >= num_classes)) & ~ignored]
    if len(outside):
        raise ValueError(
            f'gt: expected labels 0..{num_classes - 1} or {ignore_index}, got '
            f'{outside.unique().tolist()}'
        )
    return torch.where(ignored, num_classes, gt)


def _winner(scores: Tensor, classes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Best score (H, W) and its place 1..k among ``classes`` (no class: 0 and 0)."""
    check_shape('scores', scores, (len(classes), 'H', 'W'))
    if scores.dtype != torch.float32:
        raise ValueError(f'scores: expected float32, got {scores.dtype}')
    if not bool(scores.isfinite().all()):
        raise ValueError('scores: expected finite values, got NaN or infinity')
    if len(classes) == 0:
        empty = scores.new_zeros(scores.shape[1:])
        return empty, empty.long()
    score, index = scores.max(0)
    return score, index + 1


def score_counts(histogram: Tensor) -> Tensor:
    """Count winning scores by bin over all pixels, without regard to the masks.

    Args:
        histogram: (C, C + 1, T + 1) int64 of :func:`seed_histogram`.

    Returns:
        (T + 1,) int64.

    Example:
        >>> score_counts(torch.ones(2, 3, 4, dtype=torch.int64)).tolist()
        [6, 6, 6, 6]
    """
    check_shape('histogram', histogram, ('C', 'G', 'bins'))
    return histogram.sum((0, 1))


def threshold_curve(histogram: Tensor) -> ThresholdCurve:
    """Sum a histogram to the counts at every threshold.

    Args:
        histogram: (C, C + 1, T + 1) int64 of :func:`seed_histogram`.

    Returns:
        Counts (T, C); ``predicted - tp`` are false positives, ``labelled - tp`` false
        negatives.

    Raises:
        ValueError: if the shape is not that of a histogram.

    Example:
        >>> histogram = torch.zeros(2, 3, 3, dtype=torch.int64)
        >>> histogram[1, 0, 1], histogram[1, 1, 2] = 5, 7
        >>> curve = threshold_curve(histogram)
        >>> curve.tp.tolist(), curve.predicted.tolist()
        ([[0, 7], [5, 7]], [[0, 12], [5, 7]])
    """
    classes = histogram.shape[0]
    check_shape('histogram', histogram, (classes, classes + 1, 'bins'))
    judged = histogram[:, :-1]
    predicted = _above(judged.sum(1))
    tp = _above(judged.diagonal(dim1=0, dim2=1).T)
    predicted[:, 0] = _not_above(judged.sum((0, 1)))
    tp[:, 0] = _not_above(judged[:, 0].sum(0))
    labelled = judged.sum((0, 2)).expand(len(tp), -1)
    return ThresholdCurve(tp, predicted, labelled)


def _above(counts: Tensor) -> Tensor:
    """(C, T + 1) by bin -> (T, C), pixels whose score exceeds threshold i."""
    return counts.flip(-1).cumsum(-1).flip(-1)[:, 1:].T.contiguous()


def _not_above(counts: Tensor) -> Tensor:
    """(T + 1,) by bin -> (T,), pixels whose score does not exceed threshold i."""
    return counts.cumsum(-1)[:-1]


def class_rates(curve: ThresholdCurve, eps: float = 1e-10) -> ClassRates:
    r"""Rates of each class from its counts, at every threshold.

    With true positives :math:`TP`, predicted :math:`P`, labelled :math:`L` and union
    :math:`U = P + L - TP`: IoU :math:`TP / U`, precision :math:`TP / P`, recall
    :math:`TP / L`, false positive share :math:`(P - TP) / U`, false negative share
    :math:`(L - TP) / U`. IoU and both shares of a class sum to 1.

    Args:
        curve: Counts (T, C).
        eps: Added to the union, in pixels (the field's evaluation scripts), so that a
            class that occurs nowhere counts 0.

    Returns:
        Rates (T, C) in [0, 1].

    Example:
        >>> counts = (torch.tensor([[n]]) for n in (2, 4, 3))
        >>> [round(rate.item(), 3) for rate in class_rates(ThresholdCurve(*counts))]
        [0.4, 0.5, 0.667, 0.4, 0.2]
    """
    tp, predicted, labelled = (count.double() for count in curve)
    union = predicted + labelled - tp + eps
    return ClassRates(
        iou=tp / union,
        precision=tp / predicted,
        recall=tp / labelled,
        fp_share=(predicted - tp) / union,
        fn_share=(labelled - tp) / union,
    )


def mean_over_occurring(rate: Tensor, curve: ThresholdCurve) -> Tensor:
    """Average a rate over the classes that are predicted or labelled anywhere.

    Args:
        rate: (T, C) float64, one of :class:`ClassRates`.
        curve: Counts (T, C).

    Returns:
        (T,) float64; undefined (NaN) entries take no part.

    Example:
        >>> curve = ThresholdCurve(*torch.tensor([[[1, 0]], [[2, 0]], [[1, 0]]]))
        >>> mean_over_occurring(class_rates(curve, eps=0.0).precision, curve).tolist()
        [0.5]
    """
    occurs = curve.predicted + curve.labelled > 0
    return torch.where(occurs, rate, torch.nan).nanmean(1)


def otsu_threshold(counts: Tensor, thresholds: Tensor) -> int:
    r"""Choose a threshold from the scores alone (Otsu, 1979).

    Splits the scores into two groups of weights :math:`w_0, w_1` and means
    :math:`\mu_0, \mu_1` so that :math:`w_0 w_1 (\mu_0 - \mu_1)^2` is largest. A score
    counts with the middle of its bin; the bins are bounded by 0 and 1 outside.

    Args:
        counts: (T + 1,) int64 of :func:`score_counts`.
        thresholds: (T,) float32, ascending, in [0, 1].

    Returns:
        Index into ``thresholds``, the first of equal ones.

    Raises:
        ValueError: if the sizes disagree or there is no pixel.

    Example:
        >>> grid = torch.tensor([0.0, 0.25, 0.5, 0.75])
        >>> otsu_threshold(torch.tensor([6, 0, 1, 0, 3]), grid)
        2
    """
    check_thresholds(thresholds)
    check_shape('counts', counts, (len(thresholds) + 1,))
    if int(counts.sum()) == 0:
        raise ValueError('counts: expected at least one pixel, got none')
    grid = thresholds.double().to(counts.device)
    edges = torch.cat([grid.new_zeros(1), grid, grid.new_ones(1)])
    moments = counts * (edges[:-1] + edges[1:]) / 2
    low, low_moment = counts.cumsum(0)[:-1], moments.cumsum(0)[:-1]
    high, high_moment = counts.sum() - low, moments.sum() - low_moment
    distance = low_moment / low.clamp_min(1) - high_moment / high.clamp_min(1)
    # an empty group has weight exactly 0, its moment may carry a rounding error
    return int((low.double() * high * distance.square()).argmax())
