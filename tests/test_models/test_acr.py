"""ACR's losses by hand, and what its predictions carry."""

import pytest
import torch
from mmengine.runner.checkpoint import load_checkpoint
from model_builders import ARCH, CLASSES, DEPTH, images, sample, tiny_acr
from plain_attention import plain_forward, plain_maps
from torch.nn import functional as F

from mmwsss.functional.views import (
    DIHEDRAL,
    apply_dihedral,
    inverse_token_order,
    resize_attention,
)
from mmwsss.registry import MODELS
from mmwsss.utils.errors import CheckpointError, ConfigError, DataError
from mmwsss.utils.randomness import StepDraws

TAGS = [[1, 4], [0]]
TARGETS = torch.tensor([[0, 1, 0, 0, 1], [1, 0, 0, 0, 0]], dtype=torch.float64)
FIRST_BLOCK = 'backbone.vit.blocks.0.attn.qkv.weight'


def tagged(tags=TAGS, **metainfo):
    return [sample(t, sample_idx=i, **metainfo) for i, t in enumerate(tags)]


def run(model, batch):
    """Logits and head-mean attention by the plain pass of the tests."""
    logits, attentions = plain_forward(model.backbone, model.cls_head, batch)
    return logits, [attention.mean(1) for attention in attentions]


def soft_margin(logits):
    """Multi-label soft margin, entry by entry."""
    probability = 1 / (1 + (-logits).exp())
    right = torch.where(TARGETS > 0, probability, 1 - probability)
    return -right.log().mean()


def consistency(first, second):
    """L_act and L_aff with L1, summed pair by pair over blocks and images."""
    pairs = torch.stack([(a - b).abs() for a, b in zip(first, second)])
    return pairs[:, :, 0, 1:].mean(), pairs[:, :, 1:, 1:].mean()


def assert_losses(model, batch, view_batch, restore):
    found = model.loss(batch, tagged())
    logits, first = run(model, batch)
    view_logits, second = run(model, view_batch)
    activation, affinity = consistency(first, [restore(a) for a in second])
    want = dict(
        loss_cls=soft_margin(logits),
        loss_cls_view=soft_margin(view_logits),
        loss_activation=20 * activation,
        loss_affinity=30 * affinity,
    )
    assert set(found) == set(want)
    for name, value in found.items():
        torch.testing.assert_close(value, want[name], rtol=1e-7, atol=1e-9, msg=name)
    weight = dict(model.named_parameters())[FIRST_BLOCK]
    (got,) = torch.autograd.grad(sum(found.values()), weight)
    (wanted,) = torch.autograd.grad(sum(want.values()), weight)
    torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-9)


def acr_with(view, **settings):
    loss = dict(type='AttentionConsistencyLoss', alpha=20.0, beta=30.0)
    return tiny_acr(view=view, consistency=loss, **settings).double()


def test_one_view_has_one_loss():
    model = acr_with(None)
    batch = images(dtype=torch.float64)
    found = model(batch, tagged(), mode='loss')
    assert set(found) == {'loss_cls'}
    torch.testing.assert_close(found['loss_cls'], soft_margin(run(model, batch)[0]))


@pytest.mark.parametrize('name', DIHEDRAL)
@pytest.mark.parametrize('size', [(64, 64), (32, 48)])
def test_losses_of_each_element(name, size):
    batch = images(2, *size, dtype=torch.float64)
    model = acr_with(dict(type='DihedralView', elements=(name,)))
    order = inverse_token_order(name, (size[0] // 16, size[1] // 16))
    assert_losses(
        model,
        batch,
        apply_dihedral(batch, name),
        lambda attention: attention[:, order][:, :, order],
    )


def test_losses_of_the_resized_view():
    batch = images(dtype=torch.float64)
    config = dict(type='ResizeView', factor=(1.5, 1.5))
    view = F.interpolate(
        batch, size=(96, 96), mode='bilinear', antialias=True, align_corners=False
    )
    assert_losses(
        acr_with(config), batch, view, lambda a: resize_attention(a, (6, 6), (4, 4))
    )


def test_losses_of_drawn_elements():
    batch, names = images(dtype=torch.float64), tuple(DIHEDRAL)
    model = acr_with(dict(type='DihedralView', elements=names))
    view, restore = model.view(batch, stride=16, draws=StepDraws.of(tagged()))
    assert not torch.equal(view, batch)
    assert_losses(model, batch, view, restore)


def test_every_parameter_receives_a_gradient():
    model = acr_with(dict(type='DihedralView'))
    sum(model.loss(images(dtype=torch.float64), tagged()).values()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_logits_come_from_the_class_token_before_any_norm():
    model = tiny_acr()
    want, _ = plain_forward(model.backbone, model.cls_head, images())
    torch.testing.assert_close(model(images()), want)


# predictions


def predict(model, batch, samples):
    with torch.no_grad():
        return model(batch, samples, mode='predict')


def test_prediction_of_padded_images():
    model = tiny_acr(background_threshold=0.3)
    batch = images(2, 64, 48)
    shapes = [dict(img_shape=(50, 37), ori_shape=(75, 60)), dict(ori_shape=(20, 33))]
    samples = [sample(t, **s) for t, s in zip(TAGS, shapes)]
    samples[1].set_metainfo(dict(img_shape=(64, 48)))
    found = predict(model, batch, samples)
    for index, (out, tags, shape) in enumerate(zip(found, TAGS, shapes)):
        score = model(batch)[index].sigmoid()
        torch.testing.assert_close(out.pred_score, score)
        views = ('identity', 'hflip')
        rule = dict(kind='grad', start_block=DEPTH - 2, affinity=True, views=views)
        raw = plain_maps(
            model.backbone, model.cls_head, batch[index], tags, **rule
        ).detach()
        grid = normalized(raw)
        torch.testing.assert_close(out.localization.data, grid, rtol=1e-3, atol=1e-4)
        assert out.localization.classes == tuple(tags)
        assert out.localization.input_shape == (64, 48)
        assert out.localization.align_corners is True
        planes = to_image(grid, out.img_shape, shape['ori_shape'])
        logits = out.seg_logits.data
        assert logits.shape == (CLASSES + 1, *shape['ori_shape'])
        torch.testing.assert_close(
            logits[[tag + 1 for tag in tags]], planes, rtol=0, atol=2e-4
        )
        assert (logits[0] == torch.tensor(0.3)).all()
        absent = set(range(CLASSES)) - set(tags)
        assert not logits[[tag + 1 for tag in absent]].any()
        label = out.pred_sem_seg.data
        assert label.shape == (1, *shape['ori_shape'])
        assert label.dtype == torch.int64
        assert torch.equal(label[0], logits.argmax(0))
        assert set(label.unique().tolist()) == {0, *(tag + 1 for tag in tags)}


def normalized(maps):
    flat = maps.flatten(1)
    low, high = flat.min(1).values, flat.max(1).values
    return (maps - low[:, None, None]) / (high - low + 1e-6)[:, None, None]


def to_image(maps, img_shape, ori_shape, align_corners=True):
    def resize(planes, size):
        return F.interpolate(
            planes[None], size, mode='bilinear', align_corners=align_corners
        )[0]

    if tuple(img_shape) != (64, 48):
        maps = resize(maps, (64, 48))[:, : img_shape[0], : img_shape[1]]
    return normalized(resize(maps, ori_shape))


def test_padding_does_not_show():
    # the network sees the padding; the map's values there must not set the scale
    model = tiny_acr(localization=dict(affinity=False))
    (out,) = predict(model, images(1), [sample([2], img_shape=(20, 64))])
    assert out.pred_sem_seg.data.shape == (1, 20, 64)
    plane = out.seg_logits.data[3]
    assert plane.min() == 0
    assert plane.max() == pytest.approx(1, abs=1e-4)


def test_without_samples_all_recognized_classes_are_localized():
    # the median of all scores parts the images
    threshold = tiny_acr()(images(3)).sigmoid().median().item()
    found = predict(tiny_acr(tag_threshold=threshold), images(3), None)
    for out in found:
        want = (out.pred_score >= threshold).nonzero()[:, 0]
        assert out.localization.classes == tuple(want.tolist())
        assert out.pred_sem_seg.data.shape == (1, 64, 64)
    assert len({out.localization.classes for out in found}) > 1


@pytest.mark.parametrize(
    ('tags', 'given', 'localized'),
    [
        ('given', [3], [3]),
        ('auto', [3], [3]),
        ('auto', None, 'predicted'),
        ('predicted', [3], 'predicted'),
        ('predicted', None, 'predicted'),
    ],
)
def test_which_classes_are_localized(tags, given, localized):
    model = tiny_acr(tags=tags, tag_threshold=0.3)
    (out,) = predict(model, images(1), [sample(given)])
    predicted = (model(images(1))[0].sigmoid() >= 0.3).nonzero()[:, 0].tolist()
    assert predicted != [3]
    assert list(out.localization.classes) == (
        predicted if localized == 'predicted' else localized
    )


def test_an_image_in_which_nothing_is_recognized_is_background():
    model = tiny_acr(tags='predicted', tag_threshold=1.1)
    (out,) = predict(model, images(1), [sample(ori_shape=(30, 40))])
    assert out.localization.data.shape == (0, 4, 4)
    assert out.pred_sem_seg.data.shape == (1, 30, 40)
    assert not out.pred_sem_seg.data.any()
    assert not out.seg_logits.data[1:].any()


def test_score_planes_can_be_left_out():
    (out,) = predict(tiny_acr(seg_logits=False), images(1), [sample([1])])
    assert 'seg_logits' not in out
    assert 'pred_sem_seg' in out


def test_images_of_a_batch_do_not_meet():
    model = tiny_acr()
    together = predict(model, images(2), tagged())
    for index, out in enumerate(together):
        (alone,) = predict(model, images(2)[index, None], [sample(TAGS[index])])
        torch.testing.assert_close(
            alone.localization.data, out.localization.data, rtol=1e-3, atol=1e-4
        )
        torch.testing.assert_close(alone.pred_score, out.pred_score)


# refusals


@pytest.mark.parametrize('tags', [None, []])
def test_image_without_tags_cannot_train(tags):
    samples = [sample([1]), sample(tags, img_path='photos/7.jpg')]
    with pytest.raises(DataError, match=r'photos/7\.jpg: an image without tags'):
        tiny_acr()(images(), samples, mode='loss')


@pytest.mark.parametrize('mode', ['loss', 'predict'])
@pytest.mark.parametrize('tag', [CLASSES, -1])
def test_tag_of_an_unknown_class(mode, tag):
    samples = [sample([1]), sample([0, tag], img_path='photos/7.jpg')]
    message = rf'photos/7\.jpg: tag {tag} of a model with 5 classes; set .*num_classes'
    with pytest.raises(DataError, match=message):
        tiny_acr()(images(), samples, mode=mode)


def test_given_tags_that_are_not_there():
    with pytest.raises(DataError, match="array: no tags.*model.tags='predicted'"):
        predict(tiny_acr(tags='given'), images(1), [sample()])


@pytest.mark.parametrize('view', ['PatchHidingView', 'DihedralView', 'ResizeView'])
def test_view_of_a_size_that_cannot_be_cut(view):
    model = tiny_acr(view=dict(type=view))
    with pytest.raises(DataError, match='64x72 pixels.*multiple of 16'):
        model(images(2, 64, 72), tagged(), mode='loss')


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(tags='some'), "tags: expected one of .*'auto'.* got 'some'"),
        (dict(num_classes=0), 'num_classes must be at least 1, got 0'),
        (dict(localization=dict(start_block=DEPTH)), r'start_block: expected 0\.\.3'),
    ],
)
def test_values_that_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        tiny_acr(**settings)


def test_unknown_mode():
    with pytest.raises(ConfigError, match="got 'train'"):
        tiny_acr()(images(1), mode='train')


@pytest.mark.parametrize(
    'settings',
    [dict(alpha=1.0), dict(localization=dict(scale=2)), dict(backbone=dict(size=2))],
)
def test_mistyped_argument(settings):
    config = dict(
        type='ACRClassifier',
        num_classes=2,
        backbone=dict(type='AttentionViT', arch=ARCH) | settings.pop('backbone', {}),
        localization=dict(start_block=0) | settings.pop('localization', {}),
    )
    with pytest.raises(TypeError, match='unexpected keyword argument'):
        MODELS.build(config | settings)


# checkpoints


def test_checkpoint_comes_back(tmp_path):
    model, other = tiny_acr(), tiny_acr()
    torch.nn.init.zeros_(other.cls_head.weight)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'a.pth')
    load_checkpoint(other, str(tmp_path / 'a.pth'))
    assert torch.equal(other(images()), model(images()))


@pytest.mark.parametrize('strict', [False, True])
@pytest.mark.parametrize('wrapped', [False, True])
def test_checkpoint_of_another_class_count(tmp_path, strict, wrapped):
    state = tiny_acr(num_classes=20).state_dict()
    path = tmp_path / 'a.pth'
    # mmengine strips the prefix that a distributed wrapper gave
    torch.save({f'module.{k}' if wrapped else k: v for k, v in state.items()}, path)
    model = tiny_acr()
    kept = model.cls_head.weight.clone()
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(model, str(path), strict=strict)
    for part in ('cls_head.weight', '(20, 24)', '(5, 24)', 'num_classes'):
        assert part in str(caught.value)
    assert torch.equal(model.cls_head.weight, kept)


def test_checkpoint_of_another_class_count_inside_a_wrapper():
    wrapper = torch.nn.ModuleDict(dict(module=tiny_acr()))
    state = torch.nn.ModuleDict(dict(module=tiny_acr(num_classes=20))).state_dict()
    with pytest.raises(CheckpointError, match='cls_head'):
        wrapper.load_state_dict(state)
