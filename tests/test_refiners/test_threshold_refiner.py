import numpy as np
import pytest
import torch

from mmwsss.refiners import ThresholdRefiner
from mmwsss.utils.errors import ConfigError

MAPS = torch.tensor([[[0.1, 0.3, 0.7, 0.4]], [[0.2, 0.5, 0.6, 0.9]]])
IMAGE = np.zeros((1, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        (dict(background_threshold=0.2), [0, 9, 4, 9]),
        (dict(background_threshold=0.5), [0, 0, 4, 9]),
        (dict(background_threshold=0.2, foreground_threshold=0.5), [0, 255, 4, 9]),
        (dict(background_threshold=0.0, foreground_threshold=0.7), [255, 255, 255, 9]),
    ],
)
def test_labels(settings, expected):
    label = ThresholdRefiner(**settings)(MAPS, IMAGE, (3, 8))
    assert label.dtype == np.uint8
    assert label.tolist() == [expected]


def test_image_without_tags_is_background():
    label = ThresholdRefiner()(torch.zeros(0, 2, 3), np.zeros((2, 3, 3), np.uint8), ())
    assert label.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_settings_name_every_value():
    assert ThresholdRefiner(foreground_threshold=0.6).settings() == dict(
        type='ThresholdRefiner', background_threshold=0.4, foreground_threshold=0.6
    )
    assert ThresholdRefiner.extra_supervision is None


@pytest.mark.parametrize(('low', 'high'), [(-0.1, None), (1.1, None), (0.5, 0.4)])
def test_unusable_thresholds(low, high):
    with pytest.raises(ConfigError, match=f'foreground.* <= 1, got {low} and {high}'):
        ThresholdRefiner(background_threshold=low, foreground_threshold=high)


@pytest.mark.parametrize(
    ('maps', 'image', 'tags', 'message'),
    [
        (MAPS, IMAGE, (3,), r'maps: expected shape \(1, H, W\), got \(2, 1, 4\)'),
        (MAPS, IMAGE[:, :3], (3, 8), r'image: expected \(1, 4, 3\) uint8, got \(1, 3,'),
        (MAPS, IMAGE / 255, (3, 8), r'got \(1, 4, 3\) float64'),
    ],
)
def test_parts_that_do_not_fit(maps, image, tags, message):
    with pytest.raises(ValueError, match=message):
        ThresholdRefiner()(maps, image, tags)


def test_a_rule_is_no_threshold():
    with pytest.raises(ConfigError, match="'gt_free': tools/generate_pseudo_labels"):
        ThresholdRefiner(background_threshold='gt_free')
