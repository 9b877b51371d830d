"""RCA's rule with saliency, worked by hand pixel by pixel."""

import pytest
import torch

from mmwsss.functional.refinement.saliency_label import saliency_label

# class 3, class 8, saliency in 255ths, refined class 3, refined class 8, label
PIXELS = [
    (0.1, 0.2, 0, 0.1, 0.1, 0),  # plain background
    (0.7, 0.6, 255, 0.1, 0.1, 4),  # best class
    (0.3, 0.6, 200, 0.9, 0.9, 9),  # best class: the CRF concerns background alone
    (0.95, 0.91, 255, 0.0, 0.0, 255),  # two classes above 0.9
    (0.95, 0.9, 255, 0.0, 0.0, 4),  # 0.9 is not above
    (0.95, 0.91, 0, 0.0, 0.0, 255),  # so is it without saliency
    (0.5, 0.1, 31, 0.0, 0.0, 0),  # 1 - 31/255 = 0.88 wins, not salient
    (0.5, 0.1, 32, 0.0, 0.0, 255),  # salient background
    (0.1, 0.1, 0, 0.79, 0.1, 0),
    (0.1, 0.1, 0, 0.1, 0.81, 255),  # the CRF is sure of a class
    (0.5, 0.5, 127.5, 0.0, 0.0, 255),  # all equal: background, and salient
    (0.6, 0.6, 255, 0.0, 0.0, 4),  # equal classes: the lower
]


def planes():
    columns = torch.tensor(PIXELS).T[:, None]
    return columns[:2], columns[2] / 255, columns[3:5], columns[5].long()


def test_rule():
    scores, saliency, refined, expected = planes()
    found = saliency_label(scores, (3, 8), saliency, refined, ignore_index=255)
    assert found.tolist() == expected.tolist()


def test_rule_without_crf():
    scores, saliency, _, expected = planes()
    expected[0, 9] = 0
    found = saliency_label(scores, (3, 8), saliency, ignore_index=255)
    assert found.tolist() == expected.tolist()


def test_thresholds_are_arguments():
    scores, saliency, refined, _ = planes()
    settings = dict(conflict=0.94, salient=0.1, certain=0.85)
    found = saliency_label(
        scores, (3, 8), saliency, refined, **settings, ignore_index=254
    )
    assert found.tolist() == [[0, 4, 9, 4, 4, 0, 254, 254, 0, 0, 254, 4]]


@pytest.mark.parametrize(('pixels', 'undecided'), [(2, False), (1, True), (0, True)])
def test_image_with_too_little_foreground(pixels, undecided):
    """Of 200 pixels 2 are 1 %, which is enough."""
    scores = torch.zeros(1, 10, 20)
    scores[0, 0, :pixels] = 0.8
    saliency = scores[0].clone()
    found = saliency_label(scores, (5,), saliency, ignore_index=255)
    expected = 255 * torch.ones(10, 20) if undecided else 6 * (scores[0] > 0)
    assert torch.equal(found, expected.long())


def test_image_without_classes_is_undecided():
    found = saliency_label(
        torch.zeros(0, 2, 3), (), torch.zeros(2, 3), ignore_index=255
    )
    assert torch.equal(found, torch.full((2, 3), 255))


@pytest.mark.parametrize(
    ('scores', 'saliency', 'refined', 'name'),
    [
        (torch.zeros(1, 2, 3), torch.zeros(2, 3), None, 'scores'),
        (torch.zeros(2, 2, 3), torch.zeros(3, 2), None, 'saliency'),
        (torch.zeros(2, 2, 3), torch.zeros(2, 3), torch.zeros(3, 2, 3), 'refined'),
    ],
)
def test_shapes_that_do_not_fit(scores, saliency, refined, name):
    with pytest.raises(ValueError, match=f'{name}: expected shape'):
        saliency_label(scores, (3, 8), saliency, refined, ignore_index=255)
