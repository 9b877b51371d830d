"""CAM's scores, maps and test views, by hand."""

import pytest
import torch
from model_builders import CLASSES, SIDE, images, sample, tiny_cam
from torch.nn import functional as F

from mmwsss.utils.errors import ConfigError

TAGS = [[1, 4], [0]]


def tagged(**metainfo):
    return [sample(tags, **metainfo) for tags in TAGS]


def plain_maps(model, batch):
    """Class maps from the weights alone."""
    state = model.state_dict()
    x = F.conv2d(
        batch, state['backbone.conv.weight'], state['backbone.conv.bias'], stride=4
    )
    for module in model.head.modules():
        if isinstance(module, torch.nn.Conv2d):
            side = module.kernel_size[0] // 2
            x = F.conv2d(x.relu(), module.weight, module.bias, padding=side)
    return x


def test_scores_are_the_mean_of_the_maps():
    model, batch = tiny_cam().double(), images(dtype=torch.float64)
    expected = plain_maps(model, batch).flatten(2).mean(2)
    torch.testing.assert_close(model.logits(batch), expected)


def test_loss_is_the_soft_margin_of_the_scores():
    model, batch = tiny_cam().double(), images(dtype=torch.float64)
    probability = plain_maps(model, batch).flatten(2).mean(2).sigmoid()
    total = 0.0
    for row, tags in zip(probability, TAGS):
        for index, value in enumerate(row):
            total -= float((value if index in tags else 1 - value).log())
    found = model.loss(batch, tagged())
    assert set(found) == {'loss_cls'}
    assert float(found['loss_cls']) == pytest.approx(total / (2 * CLASSES))


def test_maps_of_both_views_are_added_and_divided_by_their_maximum():
    model, batch = tiny_cam().double(), images(dtype=torch.float64)
    both = plain_maps(model, batch).relu() + plain_maps(
        model, batch.flip(-1)
    ).relu().flip(-1)
    for found, summed, tags in zip(model.predict(batch, tagged()), both, TAGS):
        expected = summed[tags] / summed[tags].amax((1, 2), keepdim=True)
        torch.testing.assert_close(found.localization.data, expected)
        assert list(found.localization.classes) == tags


def test_scales_are_brought_to_the_grid_of_the_image():
    model, batch = tiny_cam().double(), images(dtype=torch.float64)
    model.inference_views.scales = (1.0, 2.0)
    model.inference_views.views = ('identity',)
    size = 2 * SIDE
    large = F.interpolate(batch, size=(size, size), mode='bilinear', antialias=True)
    half = F.interpolate(plain_maps(model, large).relu(), scale_factor=0.5, mode='area')
    both = plain_maps(model, batch).relu() + half
    for found, summed, tags in zip(model.predict(batch, tagged()), both, TAGS):
        expected = summed[tags] / summed[tags].amax((1, 2), keepdim=True)
        torch.testing.assert_close(found.localization.data, expected)


def test_map_without_a_positive_value_is_zero():
    model = tiny_cam()
    torch.nn.init.constant_(model.head.classify.bias, -1e4)
    found = model.predict(images(), tagged())[0].localization.data
    assert found.shape[0] == 2 and not found.any()


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(views=('upside_down',)), 'views: expected some of'),
        (dict(views=()), 'views: expected some of'),
        (dict(scales=(0.0,)), 'scales: expected positive numbers'),
    ],
)
def test_views_are_checked(settings, message):
    with pytest.raises(ConfigError, match=message):
        tiny_cam(localization=settings)
