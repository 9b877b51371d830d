import math

import pytest
import torch

from mmwsss.functional.refinement.background import agreed_labels, background_by_power


@pytest.mark.parametrize('alpha', [0.5, 1.0, 4.0, 32.0])
def test_power_of_what_the_best_class_leaves(alpha):
    maps = torch.rand(3, 4, 5, dtype=torch.float64)
    found = background_by_power(maps, alpha)
    assert found.shape == (1, 4, 5)
    for y, x in torch.cartesian_prod(torch.arange(4), torch.arange(5)).tolist():
        best = max(float(plane[y, x]) for plane in maps)
        assert float(found[0, y, x]) == pytest.approx(math.pow(1 - best, alpha))


def test_limits_of_the_score():
    maps = torch.tensor([[[0.0, 1.0]], [[0.0, 0.3]]])
    assert background_by_power(maps, 16.0).tolist() == [[[1.0, 0.0]]]
    assert background_by_power(torch.zeros(0, 1, 2), 4.0).tolist() == [[[1.0, 1.0]]]


def test_score_of_maps_without_classes_axis():
    with pytest.raises(ValueError, match=r'maps: expected shape \(k, H, W\), got'):
        background_by_power(torch.zeros(2, 2), 4.0)


def test_all_pairs_of_labels():
    strict = torch.tensor([[0, 0, 0, 3, 3, 3]])
    lenient = torch.tensor([[0, 3, 5, 0, 3, 5]])
    found = agreed_labels(strict, lenient, 255)
    assert found.tolist() == [[0, 255, 255, 3, 3, 3]]
    assert torch.equal(agreed_labels(strict, strict, 255), strict)


def test_label_maps_of_two_sizes():
    with pytest.raises(ValueError, match=r'lenient: expected shape \(1, 2\), got \(2,'):
        agreed_labels(torch.zeros(1, 2), torch.zeros(2, 1), 255)
