"""The transformer against timm's own forward pass, and what it refuses."""

import pytest
import timm
import torch
from model_builders import ARCH, DEPTH, images, redraw, tiny_vit
from timm.layers import HybridEmbed
from timm.models.vision_transformer import VisionTransformer

from mmwsss.models.backbones import AttentionViT
from mmwsss.utils.errors import CheckpointError, ConfigError, DataError

STEM = dict(model_name='mobilenetv3_small_050', out_index=3)


class Recorder:
    """Catches softmax attention inside timm's plain (not fused) attention."""

    def __init__(self, vit):
        self.seen = []
        for block in vit.blocks:
            block.attn.fused_attn = False
            block.attn.attn_drop.register_forward_hook(self._keep)

    def _keep(self, module, inputs, output):
        self.seen.append(inputs[0].detach().clone())


def assert_equals_stock(ours, stock, batch):
    """Compare tokens, logits through timm's norm and head, and attentions."""
    state = stock.state_dict()
    own = ours.vit.state_dict()
    assert {k for k in state if not k.startswith(('norm.', 'head.'))} == set(own)
    ours.vit.load_state_dict({key: state[key] for key in own})
    recorder = Recorder(stock)
    with torch.no_grad():
        want = stock(batch)
        features = stock.forward_features(batch)
        output = ours(batch)
        normed = stock.norm(output.tokens)
        got = stock.forward_head(normed)
    torch.testing.assert_close(normed, features, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    assert len(output.attentions) == len(stock.blocks)
    for mean, heads in zip(output.attentions, recorder.seen):
        torch.testing.assert_close(mean, heads.mean(1), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(mean.sum(-1), torch.ones_like(mean[..., 0]))


NAMED = [
    ('vit_tiny_patch16_224', 64, (48, 80)),
    ('deit_tiny_patch16_224', 64, (64, 64)),
    ('vit_base_r50_s16_384', 64, (32, 48)),
]


@pytest.mark.parametrize(('arch', 'img_size', 'size'), NAMED)
def test_named_models_equal_timm(arch, img_size, size):
    args = dict(img_size=img_size, dynamic_img_size=True, num_classes=7)
    stock = timm.create_model(arch, **args).eval()
    ours = AttentionViT(arch, img_size=img_size).eval()
    assert_equals_stock(ours, stock, images(2, *size))


@pytest.mark.parametrize('size', [(64, 64), (32, 96), (80, 48), (128, 128)])
def test_arguments_in_place_of_a_name(size):
    stock = VisionTransformer(
        **ARCH, img_size=64, dynamic_img_size=True, num_classes=7, norm_layer=None
    )
    assert_equals_stock(tiny_vit(), redraw(stock), images(2, *size))


@pytest.mark.parametrize(
    'extra',
    [
        dict(qk_norm=True, init_values=0.5),
        dict(pre_norm=True, qkv_bias=False, no_embed_class=True),
        dict(scale_attn_norm=True, drop_path_rate=0.2),
    ],
)
def test_options_of_timm_blocks(extra):
    arch = ARCH | extra
    args = arch | dict(img_size=64, dynamic_img_size=True, num_classes=7)
    stock = redraw(VisionTransformer(**args))
    assert_equals_stock(tiny_vit(arch=arch), stock, images(2, 64, 32))


def test_cnn_stem():
    from functools import partial

    cnn = timm.create_model(
        STEM['model_name'], features_only=True, out_indices=[STEM['out_index']]
    )
    stock = VisionTransformer(
        **ARCH | dict(patch_size=1),
        img_size=64,
        embed_layer=partial(HybridEmbed, backbone=cnn),
        dynamic_img_size=True,
        num_classes=7,
    )
    ours = tiny_vit(stem=STEM, arch=ARCH | dict(patch_size=1))
    assert ours.stride == 16
    assert_equals_stock(ours, redraw(stock, scale=0.1), images(2, 64, 96))


def test_stem_of_a_named_model():
    ours = tiny_vit(arch='vit_tiny_patch16_224', stem=STEM, img_size=(64, 32))
    assert ours.stride == 16
    assert ours(images(1, 32, 64)).tokens.shape == (1, 9, 192)


def test_grid_depth_and_width():
    vit = tiny_vit()
    assert (vit.stride, vit.embed_dim, vit.depth) == (16, 24, DEPTH)
    assert vit.grid(images(1, 32, 80)) == (2, 5)


def test_nothing_of_a_pass_stays_in_the_module():
    vit = tiny_vit()

    def state():
        return {
            (name, key): id(value)
            for name, module in vit.named_modules()
            for key, value in vars(module).items()
        }

    before = state(), [name for name, _ in vit.named_buffers()]
    vit(images())
    assert (state(), [name for name, _ in vit.named_buffers()]) == before


@pytest.mark.parametrize(
    'settings', [{}, dict(stem=STEM, arch=ARCH | dict(patch_size=1))]
)
def test_every_parameter_receives_a_gradient(settings):
    vit = tiny_vit(**settings).train()
    output = vit(images(4))
    output.tokens[:, 0].square().sum().backward()
    trained = [(n, p.grad) for n, p in vit.named_parameters() if p.requires_grad]
    assert [name for name, gradient in trained if gradient is None] == []
    names = [name for name, _ in trained]
    assert 'vit.blocks.3.mlp.fc2.weight' in names
    assert ('vit.patch_embed.backbone.conv_stem.weight' in names) == bool(settings)
    assert not any(name.startswith(('vit.norm.', 'vit.head')) for name in names)


def kept_and_results(model):
    """Count the values kept for gradients; return these too, loss and buffers."""
    kept = []

    def pack(tensor):
        kept.append(tensor.numel())
        return tensor

    torch.manual_seed(0)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(images(2, dtype=torch.float64))
    loss = output.tokens.square().sum() + output.attentions[0].square().sum()
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    return sum(kept), [loss.detach(), *gradients, *model.buffers()]


LAYER_NORM = dict(model_name='convnext_atto', out_index=2)


SHARES = [(None, 0.6), (STEM, 0.97), (LAYER_NORM, 0.7)]


@pytest.mark.parametrize(('stem', 'share'), SHARES)
def test_recomputing_keeps_less_and_changes_nothing(stem, share):
    arch = dict(embed_dim=24, depth=DEPTH, num_heads=3)
    arch |= dict(drop_path_rate=0.5) if stem else dict(patch_size=16)
    (whole, want), (less, got) = (
        kept_and_results(redraw(AttentionViT(arch, **settings)).double().train())
        for settings in (
            dict(stem=stem, img_size=64, with_cp=with_cp) for with_cp in (False, True)
        )
    )
    assert less < share * whole
    for pair in zip(got, want):
        torch.testing.assert_close(*pair, rtol=1e-12, atol=1e-12)


def test_only_what_the_stem_needs_not_is_frozen():
    vit = tiny_vit(stem=STEM, arch=ARCH | dict(patch_size=1))
    frozen = [name for name, p in vit.named_parameters() if not p.requires_grad]
    # feature level 3 of MobileNetV3-Small ends with stage 3 of its six
    prefix = 'vit.patch_embed.backbone.blocks.'
    assert {name[: len(prefix) + 1] for name in frozen} == {prefix + '4', prefix + '5'}
    assert vit.train().vit.patch_embed.backbone.training


def write_timm_weights(path, arch, **args):
    model = redraw(timm.create_model(arch, **args), seed=3)
    torch.save(model.state_dict(), path)
    return model


def test_official_weights_from_a_file(tmp_path):
    path = tmp_path / 'weights.pth'
    stock = write_timm_weights(path, 'deit_tiny_patch16_224')
    ours = AttentionViT('deit_tiny_patch16_224', pretrained=str(path))
    key = 'blocks.3.attn.qkv.weight'
    assert not torch.equal(ours.vit.state_dict()[key], stock.state_dict()[key])
    ours.init_weights()
    state = ours.vit.state_dict()
    assert state.keys() <= stock.state_dict().keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, stock.state_dict()[name]), name


def test_position_embedding_is_resampled_for_another_size(tmp_path):
    path = tmp_path / 'weights.pth'
    stock = write_timm_weights(path, 'deit_tiny_patch16_224')
    ours = AttentionViT('deit_tiny_patch16_224', img_size=64, pretrained=str(path))
    ours.init_weights()
    other = timm.create_model(
        'deit_tiny_patch16_224',
        img_size=64,
        pretrained=True,
        pretrained_cfg_overlay=dict(file=str(path)),
    )
    assert ours.vit.pos_embed.shape == (1, 17, 192)
    assert torch.equal(ours.vit.pos_embed, other.pos_embed)
    assert torch.equal(ours.vit.cls_token, stock.cls_token)


def test_official_weights_of_the_stem_alone(tmp_path):
    path = tmp_path / 'stem.pth'
    cnn = write_timm_weights(path, STEM['model_name'])
    ours = AttentionViT(ARCH, img_size=64, stem=STEM | dict(pretrained=str(path)))
    ours.init_weights()
    loaded = ours.vit.patch_embed.backbone.state_dict()
    assert torch.equal(loaded['conv_stem.weight'], cnn.conv_stem.weight)
    for name, tensor in loaded.items():
        assert torch.equal(tensor, cnn.state_dict()[name]), name


@pytest.fixture
def offline(monkeypatch):
    create = timm.create_model

    def refuse(name, pretrained=False, **args):
        if pretrained:
            raise OSError('Network is unreachable')
        return create(name, pretrained=False, **args)

    monkeypatch.setattr(timm, 'create_model', refuse)


def test_without_network_the_remedy_is_named(offline):
    vit = AttentionViT('deit_tiny_patch16_224', pretrained=True)
    with pytest.raises(CheckpointError) as caught:
        vit.init_weights()
    for part in ('deit_tiny_patch16_224', 'unreachable', 'set pretrained to the file'):
        assert part in str(caught.value)


def test_building_needs_no_network(offline):
    vit = AttentionViT('deit_tiny_patch16_224', img_size=32, pretrained=True)
    assert vit.eval()(images(1, 32, 32)).tokens.shape == (1, 5, 192)


@pytest.mark.parametrize('content', [None, b'torn'])
def test_unreadable_weights_are_named(tmp_path, content):
    path = tmp_path / 'weights.pth'
    if content is not None:
        path.write_bytes(content)
    vit = AttentionViT('deit_tiny_patch16_224', pretrained=str(path))
    with pytest.raises(CheckpointError, match=r'weights\.pth'):
        vit.init_weights()


def test_weights_of_another_architecture(tmp_path):
    path = tmp_path / 'weights.pth'
    write_timm_weights(path, 'vit_small_patch32_224')
    vit = AttentionViT('deit_tiny_patch16_224', pretrained=str(path))
    with pytest.raises(CheckpointError, match='deit_tiny_patch16_224'):
        vit.init_weights()


@pytest.mark.parametrize('size', [(64, 65), (40, 64), (8, 64)])
def test_size_that_cannot_be_cut_into_patches(size):
    height, width = size
    with pytest.raises(DataError, match=f'{height}x{width}.*multiple of 16.*divisor'):
        tiny_vit()(images(1, *size))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(arch='deit_tiny_distilled_patch16_224'), 'class token.*has 2'),
        (dict(arch=ARCH | dict(reg_tokens=2)), 'class token.*has 3'),
        (dict(arch=ARCH | dict(class_token=False, global_pool='avg')), 'has 0'),
        (dict(arch='vit_colossal_patch16_224'), "no model 'vit_colossal_patch16_224'"),
        (dict(arch='resnet18'), "'resnet18' cannot be built"),
        (dict(arch='swin_tiny_patch4_window7_224', img_size=224), 'VisionTransformer'),
        (dict(arch=ARCH | dict(attn_drop_rate=0.1)), 'block 0 .*attn_drop_rate=0'),
        (dict(arch=ARCH, img_size=102), 'multiples of the patch side 16, got 102x102'),
        (dict(arch=ARCH, img_size=(64, 100)), 'patch side 16, got 64x100'),
        (dict(arch=ARCH | dict(patch_size=(16, 8))), 'square patches, got 16x8'),
        (dict(arch=ARCH, pretrained=True), 'pretrained needs an arch with a name'),
        (dict(arch=ARCH, stem=dict(model_name='cnn')), "timm has no model 'cnn'"),
    ],
)
def test_architectures_that_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        AttentionViT(**dict(img_size=64) | settings)


@pytest.mark.parametrize(
    'settings',
    [
        dict(arch=ARCH | dict(embed_dims=4)),
        dict(arch=ARCH, image_size=64),
        dict(arch=ARCH, stem=dict(model='mobilenetv3_small_050')),
    ],
)
def test_mistyped_argument(settings):
    with pytest.raises(TypeError, match='unexpected keyword argument'):
        AttentionViT(**settings)
