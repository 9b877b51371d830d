import numpy as np
import pytest
import torch

from mmwsss.functional.refinement.label_band import label_with_band


def label_by_loops(scores, classes, low, high):
    labels = np.zeros(scores.shape[1:], int)
    for place in np.ndindex(labels.shape):
        values = [plane[place] for plane in scores]
        best = max(values, default=np.float32(0))
        if best > np.float32(high):
            labels[place] = classes[values.index(best)] + 1
        elif best > np.float32(low):
            labels[place] = 255
    return labels


def label(scores, classes, low, high):
    found = label_with_band(
        torch.from_numpy(scores),
        classes,
        background_threshold=low,
        foreground_threshold=high,
        ignore_index=255,
    )
    return found.numpy()


@pytest.mark.parametrize('classes', [(), (4,), (0, 7, 19)])
@pytest.mark.parametrize(('low', 'high'), [(0.3, 0.3), (0.3, 0.6), (0.0, 1.0)])
def test_labels_are_those_of_a_loop(classes, low, high):
    random = np.random.default_rng(0)
    # a coarse grid of values: many are equal to a threshold or to one another
    scores = random.integers(0, 11, (len(classes), 9, 11)).astype(np.float32) / 10
    expected = label_by_loops(scores, classes, low, high)
    np.testing.assert_array_equal(label(scores, classes, low, high), expected)
    undecided = bool(classes) and low < high
    assert (255 in expected) == undecided


def test_thresholds_the_wrong_way_round():
    with pytest.raises(ValueError, match='expected >= background_threshold = 0.5'):
        label(np.zeros((1, 2, 2), np.float32), (0,), 0.5, 0.4)
