"""ACR and CAM or RCA on one stem: losses of both, and maps spread by hand."""

import copy

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.registry import DefaultScope
from model_builders import CLASSES, images, redraw, sample

from mmwsss.models.classifiers import ComposedClassifier
from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError

STEM = dict(model_name='test_resnet', out_index=(2, 3), frozen=('',))
BACKBONE = dict(
    type='AttentionViT',
    arch=dict(embed_dim=24, depth=2, num_heads=3),
    img_size=64,
    stem=STEM,
)
ACR = dict(
    type='ACRClassifier',
    backbone=BACKBONE,
    view=dict(type='DihedralView'),
    localization=dict(start_block=0),
)
WIDTH = 240
HEAD = dict(type='CAMHead', in_channels=WIDTH, num_convs=0)
CAM = dict(type='CAMClassifier', head=HEAD)
RCA = dict(
    type='RCAClassifier',
    channels=WIDTH,
    head=dict(type='CAMHead', num_convs=0),
    memory=dict(type='RegionMemory', num_slots=4, score_gate=0.0),
    contrast=dict(type='RegionContrastLoss'),
    aggregation=dict(type='PrototypeAggregator', num_prototypes=1),
    space='raw',
    contrast_from=0,
    aggregate_from=1,
)


@pytest.fixture(autouse=True)
def scope():
    """A training in its first epoch, whatever ran in this process before."""
    MessageHub.get_instance('composed').update_info_dict(dict(seed=0, iter=0, epoch=0))
    with DefaultScope.overwrite_default_scope('mmwsss'):
        yield
    MessageHub._instance_dict.pop('composed')


def composed(maps=CAM, **settings):
    return redraw(ComposedClassifier(CLASSES, acr=ACR, maps=maps, **settings))


def batch():
    metainfo = [dict(sample_idx=i) for i in range(2)]
    tags = [[0, 3], [1]]
    return images(), [sample(t, **m) for t, m in zip(tags, metainfo)]


def test_losses_are_those_of_its_parts():
    model = composed(maps_weight=0.5)
    inputs, samples = batch()
    found = model.loss(inputs, samples)
    alone = dict(ACR, num_classes=CLASSES)
    acr = MODELS.build(alone).eval()
    acr.load_state_dict(model.acr.state_dict())
    expected = acr.loss(inputs, samples)
    stem = acr.backbone.vit.patch_embed.backbone
    logits = model.maps.head(stem(inputs)).mean((-2, -1))
    expected['loss_maps_cls'] = 0.5 * model.classification_loss(logits, samples)
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])
    torch.testing.assert_close(model.logits(inputs), logits)


@pytest.mark.parametrize('steps', [0, 1, 2])
def test_maps_are_spread_along_both_views_own_attention(steps):
    model = composed(steps=steps).eval()
    inputs, _ = batch()
    vit, head = model.acr.backbone, model.maps.head
    total = 0
    with torch.no_grad():
        for flip in (False, True):
            view = inputs.flip(-1) if flip else inputs
            maps = head(vit.vit.patch_embed.backbone(view)).relu().double().flatten(2)
            attention = sum(a.double()[:, 1:, 1:] for a in vit(view).attentions)
            for _ in range(steps):
                maps = torch.einsum('bij,bkj->bki', attention, maps)
            maps = maps.unflatten(-1, vit.grid(inputs))
            total = total + (maps.flip(-1) if flip else maps)
    chosen = [torch.tensor([0, 3]), torch.tensor([1])]
    logits, found = model.localize(inputs, lambda _: chosen)
    torch.testing.assert_close(logits, model.logits(inputs))
    for maps, classes, own in zip(total, chosen, found):
        maps = maps[classes]
        expected = maps / maps.amax((-2, -1), keepdim=True)
        torch.testing.assert_close(own.double(), expected, rtol=1e-4, atol=1e-5)


def test_every_weight_is_trained_once():
    model = composed().train()
    names = list(model.state_dict())
    assert len(names) == len(set(names))
    assert not [n for n in names if n.startswith('maps.') and 'head' not in n]
    losses = model.loss(*batch())
    sum(losses.values()).backward()
    idle = [
        n for n, p in model.named_parameters() if p.requires_grad and p.grad is None
    ]
    assert idle == []
    twin = copy.deepcopy(model)
    assert twin.maps.backbone._owner[0] is twin.acr.backbone


def test_memory_and_prototypes_of_rca():
    model = composed(RCA).train()
    assert 'loss_maps_contrast' in model.joint_losses
    losses = model.loss(*batch())
    assert {'loss_maps_cls', 'loss_maps_cls_coarse', 'loss_affinity'} <= losses.keys()
    assert not model.memory_state().valid.any()
    model.update_memory()
    filled = model.memory_state().valid.any(1)
    assert filled.tolist() == [True, True, False, True, False]
    model.refresh_prototypes()
    assert model.memory_state().ready.tolist() == filled.tolist()
    model.eval()
    _, maps = model.localize(images(), lambda logits: [torch.tensor([0])] * 2)
    assert all(torch.isfinite(m).all() and m.max() <= 1 for m in maps)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(steps=-1), 'steps must be at least 0, got -1'),
        (dict(maps=ACR), 'expected a CAMClassifier, got ACRClassifier'),
        (dict(acr=dict(ACR, backbone=dict(BACKBONE, stem=None))), 'a stem'),
    ],
)
def test_what_does_not_compose(settings, message):
    with pytest.raises(ConfigError, match=message):
        ComposedClassifier(CLASSES, **(dict(acr=ACR, maps=CAM) | settings))
