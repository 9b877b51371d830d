"""What attention joins to a point: against its definition, with padding and scale."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from mmwsss.apis.inferencer_affinity import affinity_of_point
from mmwsss.models.backbones import AttentionViT
from mmwsss.structures import WSSSDataSample
from mmwsss.utils.errors import DataError


@pytest.fixture(scope='module')
def vit():
    """Two blocks whose attention is far from even."""
    torch.manual_seed(0)
    arch = dict(embed_dim=16, depth=2, num_heads=2, patch_size=8)
    made = AttentionViT(arch, img_size=16).eval()
    for weights in made.parameters():
        weights.data.normal_(std=0.3)
    return made


@pytest.fixture(scope='module')
def inputs():
    return torch.randn(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))


def sample(img_shape, ori_shape):
    return WSSSDataSample(metainfo=dict(img_shape=img_shape, ori_shape=ori_shape))


@torch.no_grad()
def plain_affinity(vit, inputs):
    """Head-mean attention between patches, summed over blocks, by its definition."""
    tokens, total = vit.embed(inputs), 0
    for block in vit.vit.blocks:
        batch, count, width = tokens.shape
        heads = block.attn.num_heads
        packed = block.attn.qkv(block.norm1(tokens))
        shape = (batch, count, 3, heads, width // heads)
        query, key, value = packed.view(shape).permute(2, 0, 3, 1, 4)
        attention = (query @ key.mT / (width // heads) ** 0.5).softmax(-1)
        total = total + attention.mean(1)[:, 1:, 1:]
        context = (attention @ value).transpose(1, 2).reshape(batch, count, width)
        tokens = tokens + block.attn.proj(context)
        tokens = tokens + block.mlp(block.norm2(tokens))
    return total[0]


def as_map(row, img_shape, ori_shape):
    """Up-sample a row of 2x3 patches and bring it to 0..1, without our functions."""
    resize = partial(F.interpolate, mode='bilinear', align_corners=True)
    whole = resize(row.view(1, 1, 2, 3), (16, 24))[..., : img_shape[0], : img_shape[1]]
    planes = resize(whole, ori_shape)
    return ((planes - planes.min()) / (planes.max() - planes.min()))[0, 0]


@pytest.mark.parametrize(
    ('point', 'patch'),
    [((0, 0), 0), ((23, 15), 5), ((7.9, 8), 3), ((8, 7.9), 1), ((16, 0.5), 2)],
)
def test_is_the_row_of_the_points_patch(vit, inputs, point, patch):
    size = (16, 24)
    found = affinity_of_point(
        vit, inputs, sample(size, size), point, align_corners=True
    )
    wanted = as_map(plain_affinity(vit, inputs)[patch], size, size)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ('point', 'patch'),
    [((0, 0), 0), ((31, 0), 1), ((15.9, 31), 3), ((16, 16), 4), ((15, 15), 0)],
)
def test_padding_and_scale_are_taken_back(vit, inputs, point, patch):
    """The grid covers 3x2 patches, the image of 32x32 pixels the left 2x2."""
    found = affinity_of_point(
        vit, inputs, sample((16, 16), (32, 32)), point, align_corners=True
    )
    wanted = as_map(plain_affinity(vit, inputs)[patch], (16, 16), (32, 32))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize('point', [(24, 0), (0, 16), (-0.1, 0), (0, -1)])
def test_points_outside_are_refused(vit, inputs, point):
    with pytest.raises(DataError, match='array: the point .* columns go from 0 to 23'):
        affinity_of_point(
            vit, inputs, sample((16, 24), (16, 24)), point, align_corners=True
        )
