"""Frozen CNNs, stacked levels, cached features, and attention that begins similar."""

import pytest
import torch
import torch.nn.functional as F
from model_builders import ARCH, images, redraw

from mmwsss.functional.feature_pairs import pair_features
from mmwsss.models.backbones import AttentionViT, CachedFeatures, TimmCNN
from mmwsss.utils.errors import ConfigError

RESNET = 'test_resnet'
LEVELS = dict(out_indices=(2, 3))
VIT = dict(embed_dim=24, depth=2, num_heads=3)


def test_stacked_levels_have_the_first_ones_size():
    plain, stacked = TimmCNN(RESNET, **LEVELS), TimmCNN(RESNET, **LEVELS, stacked=True)
    stacked.load_state_dict(redraw(plain).state_dict())
    plain.eval(), stacked.eval()
    fine, coarse = plain(images(2, 64, 64))
    (found,) = stacked(images(2, 64, 64))
    wide = F.interpolate(coarse, fine.shape[-2:], mode='bilinear', align_corners=False)
    assert torch.equal(found, torch.cat([fine, wide], 1))
    assert stacked.channels == (sum(plain.channels),) == (found.shape[1],)
    assert stacked.strides == plain.strides[:1]


@pytest.mark.parametrize('frozen', [('',), ('conv1', 'layer1')])
def test_frozen_parts_keep_weights_and_statistics(frozen):
    network = TimmCNN(RESNET, frozen=frozen).train()
    state = network.cnn.state_dict()
    before = {name: value.clone() for name, value in state.items()}
    (features,) = network(images(2, 64, 64))
    trained = [p for p in network.parameters() if p.requires_grad]
    if trained:
        features.square().sum().backward()
        torch.optim.SGD(trained, 0.1).step()
    changed = {
        name.partition('.')[0]
        for name, value in network.cnn.state_dict().items()
        if not torch.equal(before[name], value)
    }
    everything = {name.partition('.')[0] for name in before}
    rest = set() if frozen == ('',) else everything - {'conv1', 'layer1'}
    assert changed == rest


def test_a_part_that_is_not_there():
    with pytest.raises(ConfigError, match=r"no part 'layer9'.*conv1.*'' for all"):
        TimmCNN(RESNET, frozen=('conv1', 'layer9'))


def test_a_frozen_stem_stays_in_training():
    stem = dict(model_name=RESNET, out_index=(2, 3), frozen=('',))
    vit = AttentionViT(VIT, img_size=64, stem=stem).train()
    backbone = vit.vit.patch_embed.backbone
    assert not any(part.training for part in backbone.modules())
    assert vit.vit.blocks[0].training
    vit(images(1, 64, 64)).tokens.sum().backward()
    assert [p for p in backbone.parameters() if p.requires_grad] == []
    assert vit.vit.patch_embed.proj.weight.grad is not None


def test_tokens_from_cached_features_equal_those_from_images():
    stem = dict(model_name=RESNET, out_index=(2, 3), frozen=('',))
    whole = redraw(AttentionViT(VIT, img_size=64, stem=stem))
    cnn = whole.vit.patch_embed.backbone
    batch = images(2, 64, 64)
    with torch.no_grad():
        pairs = pair_features(cnn(batch), cnn(batch.flip(-1)))
    channels = pairs.shape[1] // 2
    cached = AttentionViT(VIT, img_size=pairs.shape[-1], stem=dict(cached=channels))
    state = {k: v for k, v in whole.state_dict().items() if 'backbone' not in k}
    cached.load_state_dict(state)
    cached.eval()
    assert cached.stride == 1 and cached.grid(pairs) == whole.grid(batch)
    for inputs, features in ((batch, pairs), (batch.flip(-1), pairs.flip(-1))):
        expected, found = whole(inputs), cached(features)
        torch.testing.assert_close(found.tokens, expected.tokens)
        torch.testing.assert_close(found.attentions, expected.attentions)


def test_cached_features_of_another_width():
    with pytest.raises(ConfigError, match='expects arrays of 7 channels, got 3'):
        CachedFeatures(3)(images())
    with pytest.raises(ConfigError, match='channels must be at least 1, got 0'):
        CachedFeatures(0)


@pytest.mark.parametrize(
    ('stem', 'message'),
    [
        (dict(out_index=2), 'model_name=None and cached=None'),
        (dict(model_name=RESNET, cached=3), f"model_name='{RESNET}' and cached=3"),
        (dict(cached=3, frozen=('',)), 'cached features have no weights'),
    ],
)
def test_stems_that_are_neither_or_both(stem, message):
    with pytest.raises(ConfigError, match=message):
        AttentionViT(VIT, img_size=64, stem=stem)


def test_attention_begins_as_the_similarity_of_tokens():
    """Heads that see the same entries: softmax(cos / temperature), class token too."""
    temperature, width = 0.15, 8
    arch = ARCH | dict(embed_dim=width, depth=1, num_heads=1)
    vit = AttentionViT(arch, img_size=64, similarity_init=temperature)
    vit.init_weights()
    vit.eval()
    output = vit(images(2, 64, 64))
    tokens = output.embedding.double()
    tokens = tokens - tokens.mean(-1, keepdim=True)
    rows = F.normalize(tokens, dim=-1)
    expected = (rows @ rows.mT / temperature).softmax(-1)
    # layer norm adds 1e-6 to the variance, which tokens of this scale notice
    torch.testing.assert_close(
        output.attentions[0].double(), expected, rtol=5e-2, atol=1e-3
    )
    assert expected.max() > 3 / expected.shape[-1]


@pytest.mark.parametrize('value', [0.0, -1.0])
def test_similarity_without_a_temperature(value):
    with pytest.raises(ConfigError, match=f'got {value}'):
        AttentionViT(ARCH, img_size=64, similarity_init=value)


def test_similarity_would_replace_official_weights():
    with pytest.raises(ConfigError, match='no pretrained transformer'):
        AttentionViT('deit_tiny_patch16_224', pretrained=True, similarity_init=0.1)
