"""ACR's maps against whole matrices and plain autograd, image by image."""

import pytest
import torch
from model_builders import ARCH, CLASSES, DEPTH, images, redraw, tiny_vit
from plain_attention import RULES, TURN, plain_maps
from torch import nn

from mmwsss.models.classifiers.acr_localizer import ACRLocalizer
from mmwsss.utils.errors import ConfigError

TAGS = [[1, 4], [], [0, 2, 3]]


@pytest.fixture(scope='module')
def model():
    head = redraw(nn.Linear(ARCH['embed_dim'], CLASSES), seed=4)
    return tiny_vit().double(), head.double()


def tags_of(_, tags=TAGS):
    return [torch.tensor(classes, dtype=torch.int64) for classes in tags]


def localizer(**settings):
    return ACRLocalizer(**dict(start_block=DEPTH - 2) | settings)


def assert_equals_plain(model, batch, rule, *, views, scales=(1.0,)):
    settings = rule | dict(views=views, scales=scales)
    with torch.no_grad():
        logits, classes, maps = localizer(**settings).sum_views(*model, batch, tags_of)
    assert [c.tolist() for c in classes] == TAGS
    torch.testing.assert_close(logits, model[1](model[0](batch).tokens[:, 0]))
    for image, tags, got in zip(batch, TAGS, maps):
        want = plain_maps(*model, image, tags, views=views, scales=scales, **rule)
        torch.testing.assert_close(got[: len(tags)], want, rtol=1e-9, atol=1e-13)


DEFAULT = dict(kind='grad', start_block=DEPTH - 2, affinity=True)


@pytest.mark.parametrize('kind', RULES)
@pytest.mark.parametrize('affinity', [False, True])
@pytest.mark.parametrize('start_block', [0, DEPTH - 1])
def test_kinds_starts_and_affinity(model, kind, affinity, start_block):
    rule = dict(kind=kind, start_block=start_block, affinity=affinity)
    batch = images(3, dtype=torch.float64)
    assert_equals_plain(model, batch, rule, views=('identity', 'hflip'))


@pytest.mark.parametrize('size', [(64, 64), (32, 80)])
def test_all_eight_views(model, size):
    batch = images(3, *size, dtype=torch.float64)
    assert_equals_plain(model, batch, DEFAULT, views=('identity', *reversed(TURN)))


@pytest.mark.parametrize('name', TURN)
def test_each_view_alone_comes_back(model, name):
    batch = images(3, 48, 32, dtype=torch.float64)
    with torch.no_grad():
        _, _, maps = localizer(views=(name,)).sum_views(*model, batch, tags_of)
    for image, tags, got in zip(batch, TAGS, maps):
        want = plain_maps(*model, image, tags, views=(name,), **DEFAULT)
        torch.testing.assert_close(got[: len(tags)], want, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize('size', [(64, 64), (32, 80)])
def test_several_scales(model, size):
    batch = images(3, *size, dtype=torch.float64)
    views, scales = ('identity', 'hflip', 'rot90'), (1.0, 0.5, 1.5)
    assert_equals_plain(model, batch, DEFAULT, views=views, scales=scales)


def test_maps_are_min_max_normalized_and_fit_the_tags(model):
    batch = images(3, dtype=torch.float64)
    with torch.no_grad():
        _, _, sums = localizer().sum_views(*model, batch, tags_of)
        found = localizer()(*model, batch, tags_of)
    assert [tuple(m.shape) for m in found.maps] == [(2, 4, 4), (0, 4, 4), (3, 4, 4)]
    for tags, raw, maps in zip(TAGS, sums, found.maps):
        for plane, got in zip(raw[: len(tags)], maps):
            low, high = plane.min(), plane.max()
            want = (plane - low) / (high - low + 1e-6)
            torch.testing.assert_close(got, want.float())


def test_a_batch_equals_its_images_one_by_one(model):
    batch = images(3, 32, 48, dtype=torch.float64)
    settings = dict(views=('identity', 'hflip', 'transpose'), scales=(1.0, 1.5))
    together = localizer(**settings)(*model, batch, tags_of)
    for index, tags in enumerate(TAGS):
        alone = localizer(**settings)(
            *model, batch[index, None], lambda _, tags=tags: tags_of(_, [tags])
        )
        torch.testing.assert_close(alone.maps[0], together.maps[index])
        torch.testing.assert_close(alone.logits[0], together.logits[index])


def test_no_image_has_tags(model):
    found = localizer()(
        *model, images(2, dtype=torch.float64), lambda _: tags_of(_, [[], []])
    )
    assert [tuple(m.shape) for m in found.maps] == [(0, 4, 4)] * 2
    assert found.logits.shape == (2, CLASSES)


def test_tags_are_asked_for_once_with_the_logits_of_the_first_view(model):
    asked = []

    def choose(logits):
        asked.append(logits.clone())
        return tags_of(logits)

    batch = images(3, 32, 48, dtype=torch.float64)
    views = ('hflip', 'rot90', 'identity')
    localizer(views=views, scales=(0.5, 1.0)).sum_views(*model, batch, choose)
    assert [logits.shape for logits in asked] == [(3, CLASSES)]
    localizer(views=('hflip',)).sum_views(*model, batch, choose)
    torch.testing.assert_close(asked[1], model[1](model[0](batch.flip(3)).tokens[:, 0]))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(kind='gradcam'), "kind: expected one of .*'cam_grad'.* got 'gradcam'"),
        (dict(views=()), 'views: expected some of'),
        (dict(views=('hflip', 'flip')), r"got \['hflip', 'flip'\]"),
        (dict(scales=()), r'scales: expected positive numbers, got \[\]'),
        (dict(scales=(1.0, 0.0)), r'scales: expected positive'),
    ],
)
def test_values_that_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ACRLocalizer(**settings)


@pytest.mark.parametrize('start', [-1, DEPTH])
def test_start_block_is_checked_against_the_depth(start):
    with pytest.raises(ConfigError, match=rf'0\.\.3 .* 4 blocks, got {start}'):
        localizer(start_block=start).check_depth(DEPTH)


def test_mistyped_argument():
    with pytest.raises(TypeError, match='scale'):
        ACRLocalizer(scale=(1.0,))
