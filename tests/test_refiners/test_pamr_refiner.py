import numpy as np
import pytest
import torch

from mmwsss.functional.refinement.pamr import pamr
from mmwsss.refiners import PAMRRefiner, ThresholdRefiner
from mmwsss.utils.errors import ConfigError


def scene():
    """A bright square on a dark ground, and a blurred, displaced map of it."""
    inside = np.zeros((40, 48), bool)
    inside[8:30, 10:34] = True
    noise = np.random.default_rng(0).integers(0, 9, (40, 48, 3))
    image = (np.where(inside, 180, 40)[..., None] + noise).astype(np.uint8)
    rows, columns = np.mgrid[:40, :48]
    blob = np.exp(-((rows - 16) ** 2 + (columns - 19) ** 2) / 200.0)
    return inside, image, torch.from_numpy(blob[None]).float()


def iou(label, inside):
    return ((label > 0) & inside).sum() / ((label > 0) | inside).sum()


def test_labels_follow_the_edges():
    inside, image, maps = scene()
    plain = ThresholdRefiner(background_threshold=0.3)(maps, image, (6,))
    refined = PAMRRefiner(background_threshold=0.3)(maps, image, (6,))
    assert set(np.unique(refined)) == {0, 7}
    assert iou(plain, inside) < 0.75
    assert iou(refined, inside) > 0.95


def test_labels_are_thresholds_on_refined_maps():
    _, image, maps = scene()
    settings = dict(dilations=(1, 3), iterations=4)
    refiner = PAMRRefiner(
        **settings, background_threshold=0.2, foreground_threshold=0.5
    )
    pixels = torch.from_numpy(image).movedim(-1, 0).float() / 255
    score = pamr(maps, pixels, (1, 3), iterations=4)[0].numpy()
    expected = np.where(score > 0.5, 7, np.where(score > 0.2, 255, 0))
    np.testing.assert_array_equal(refiner(maps, image, (6,)), expected)
    assert set(np.unique(expected)) == {0, 7, 255}


def test_image_without_tags_is_background():
    _, image, _ = scene()
    label = PAMRRefiner()(torch.zeros(0, 40, 48), image, ())
    assert label.shape == (40, 48)
    assert not label.any()


def test_settings_name_every_value():
    assert PAMRRefiner(dilations=[1, 2]).settings() == dict(
        type='PAMRRefiner',
        background_threshold=0.4,
        foreground_threshold=None,
        dilations=(1, 2),
        iterations=10,
    )


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(dilations=()), r'refiner.dilations: expected some, >= 1, got \(\)'),
        (dict(dilations=[0, 1]), r'refiner.dilations: expected some, >= 1, got \(0, 1'),
        (dict(iterations=0), 'refiner.iterations: expected >= 1, got 0'),
        (dict(background_threshold=2), 'expected 0 <= background_threshold'),
    ],
)
def test_unusable_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        PAMRRefiner(**settings)
