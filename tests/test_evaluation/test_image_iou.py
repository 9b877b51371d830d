"""IoU of one image: by hand, against loops over pixels, and at its limits."""

import numpy as np
import pytest

from mmwsss.evaluation.image_iou import image_iou


def by_loops(label, mask):
    """Sets of pixels, class by class."""
    pixels = [p for p in np.ndindex(mask.shape) if mask[p] != 255]
    ratios = []
    for index in range(255):
        found = {p for p in pixels if label[p] == index}
        wanted = {p for p in pixels if mask[p] == index}
        if found | wanted:
            ratios.append(len(found & wanted) / len(found | wanted))
    return sum(ratios) / len(ratios)


def test_case_by_hand():
    label = np.array([[0, 0, 1], [2, 1, 255]])
    mask = np.array([[0, 1, 1], [0, 255, 1]])
    # background 1 of 3, class 1 has 1 of 3, class 2 is invented
    assert image_iou(label, mask) == pytest.approx((1 / 3 + 1 / 3 + 0) / 3)


@pytest.mark.parametrize('seed', range(3))
def test_against_loops(seed):
    draw = np.random.default_rng(seed)
    label, mask = draw.choice([0, 1, 5, 255], (2, 7, 9)).astype(np.uint8)
    assert image_iou(label, mask) == pytest.approx(by_loops(label, mask), abs=1e-12)


def test_limits():
    mask = np.array([[0, 3], [255, 3]], np.uint8)
    assert image_iou(mask, mask) == 1
    assert image_iou(np.where(mask == 255, 7, mask), mask) == 1
    assert image_iou(np.full_like(mask, 255), mask) == 0
    assert image_iou(mask, np.full_like(mask, 255)) is None
    # another mark of what is not judged
    assert image_iou(mask, np.where(mask == 255, 9, mask), ignore_index=9) == 1


def test_other_size_is_refused():
    with pytest.raises(ValueError, match=r'of the mask \(2, 2\), got \(2, 3\)'):
        image_iou(np.zeros((2, 3), int), np.zeros((2, 2), int))
