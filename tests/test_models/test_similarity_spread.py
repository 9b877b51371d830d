"""Maps spread along the similarity of features, against loops in float64."""

import math

import pytest
import torch
from model_builders import images, sample, tiny_cam, tiny_rca

from mmwsss.models.classifiers.similarity_spread import SimilaritySpread
from mmwsss.utils.errors import ConfigError

# Two places look alike, the third is at right angles to both.
FEATURES = torch.tensor([[[[1.0, 3.0, 0.0]], [[0.0, 0.0, 2.0]]]])


def plain_spread(maps, features, temperature, steps):
    """One image, place by place."""
    rows = features.flatten(1).T.tolist()
    lengths = [math.hypot(*row) or 1.0 for row in rows]
    weights = []
    for row, length in zip(rows, lengths):
        exponents = [
            math.exp(sum(map(math.prod, zip(row, other))) / length / size / temperature)
            for other, size in zip(rows, lengths)
        ]
        weights.append([value / sum(exponents) for value in exponents])
    spread = maps.flatten(1).tolist()
    for _ in range(steps):
        spread = [
            [sum(map(math.prod, zip(row, values))) for row in weights]
            for values in spread
        ]
    spread = [[value - min(values) for value in values] for values in spread]
    return torch.tensor(spread, dtype=torch.float64).view(maps.shape)


def test_what_lies_at_one_place_reaches_its_like():
    maps = torch.tensor([[[[4.0, 0.0, 0.0]]]])
    found = SimilaritySpread(temperature=0.01, steps=1)(maps, FEATURES)
    torch.testing.assert_close(found, torch.tensor([[[[2.0, 2.0, 0.0]]]]))


@pytest.mark.parametrize(('temperature', 'steps'), [(0.15, 3), (1.0, 1)])
def test_values_of_a_loop(temperature, steps):
    maps = images(2, 3, 4, dtype=torch.float64).relu()
    features = images(2, 3, 4, seed=1, dtype=torch.float64)
    found = SimilaritySpread(temperature=temperature, steps=steps)(maps, features)
    for ours, one, its in zip(found, maps, features):
        torch.testing.assert_close(ours, plain_spread(one, its, temperature, steps))


def test_half_precision_is_left():
    maps, features = images(1, 4, 4).relu(), images(1, 4, 4, seed=1)
    spread = SimilaritySpread()
    expected = spread(maps, features)
    with torch.autocast('cpu', torch.bfloat16):
        torch.testing.assert_close(spread(maps, features), expected)


@pytest.mark.parametrize('build', [tiny_cam, tiny_rca])
def test_maps_of_each_view_are_spread_before_they_are_added(build):
    settings = dict(temperature=0.5, steps=2)
    model = build(similarity=settings).double()
    batch = images(1, dtype=torch.float64)
    both = 0
    for flip in (False, True):
        view = batch.flip(-1) if flip else batch
        features = model.backbone(view)[-1]
        one = plain_spread(model.class_maps(view).relu()[0], features[0], 0.5, 2)
        both = both + (one.flip(-1) if flip else one)
    expected = both[[1, 4]] / both[[1, 4]].amax((1, 2), keepdim=True)
    found = model.predict(batch, [sample([1, 4])])[0].localization.data
    # the division by the maximum is guarded by 1e-6
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(temperature=0.0), 'temperature must be above 0, got 0.0'),
        (dict(steps=0), 'steps must be at least 1, got 0'),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ConfigError, match=message):
        tiny_cam(similarity=settings)
