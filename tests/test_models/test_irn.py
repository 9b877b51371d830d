"""IRN's branches, losses and walk, by hand on a tiny CNN."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from mmwsss.models.affinity.irn import BoundaryBranch, DisplacementBranch, IRNetwork
from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / 'configs/refinement'
LEVELS = dict(in_channels=(8, 16, 16), strides=(2, 4, 8))
PUBLISHED = (64, 256, 512, 1024, 2048), (4, 4, 8, 16, 16)


@MODELS.register_module(force=True)
class ThreeLevels(BaseModule):
    """Levels at strides 2, 4 and 8, with batch normalization."""

    def __init__(self):
        super().__init__()
        sizes = (3, *LEVELS['in_channels'])
        self.steps = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in zip(sizes, sizes[1:])
        )

    def forward(self, images):
        levels = [images]
        for step in self.steps:
            levels.append(step(levels[-1]))
        return tuple(levels[1:])


def tiny(**settings):
    torch.manual_seed(0)
    settings = dict(displacement_channels=(8, 8, 16), fused_channels=16) | settings
    settings = dict(boundary_channels=8, radius=3, test_radius=2) | settings
    model = IRNetwork(backbone=dict(type='ThreeLevels'), **LEVELS | settings).double()
    for part in model.modules():
        if isinstance(part, nn.GroupNorm):
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
    return model


def images(count=2, height=16, width=24, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(
        count, 3, height, width, generator=generator, dtype=torch.float64
    )


def labelled(labels):
    data = PixelData(data=torch.tensor(labels)[None])
    return SegDataSample(gt_sem_seg=data)


def blocks(cells, stride=4):
    """A label map whose cells have one label each."""
    return labelled(
        torch.tensor(cells)
        .repeat_interleave(stride, 0)
        .repeat_interleave(stride, 1)
        .tolist()
    )


CELLS = [
    [[0, 0, 0, 0, 0, 0], [0, 3, 3, 3, 0, 0], [0, 3, 3, 255, 0, 0], [0, 0, 5, 5, 5, 0]],
    [
        [0, 0, 255, 1, 1, 1],
        [0, 0, 255, 1, 1, 1],
        [0, 0, 0, 0, 1, 1],
        [2, 2, 0, 0, 0, 0],
    ],
]


def embedded(embedding, level, size):
    """The embedding in plain sums: channels mixed, groups normalized, resized."""
    weight = embedding.conv.weight[:, :, 0, 0]
    mixed = torch.einsum('oc,bchw->bohw', weight, level)
    groups = embedding.norm.num_groups
    parts = mixed.unflatten(1, (groups, -1)).flatten(2)
    mean = parts.mean(-1, keepdim=True)
    variance = (parts - mean).square().mean(-1, keepdim=True)
    normed = ((parts - mean) / (variance + 1e-5).sqrt()).view_as(mixed)
    scale, shift = (p[:, None, None] for p in embedding.norm.parameters())
    planes = normed * scale + shift
    resized = F.interpolate(planes, size, mode='bilinear', align_corners=False)
    return resized.clamp(min=0)


def at_published_sizes(branch):
    return [embedding.norm.num_groups for embedding in branch.embeddings]


def test_published_branches():
    channels, strides = PUBLISHED
    boundary = BoundaryBranch(channels, width=32)
    assert boundary.head.weight.shape == (1, 160, 1, 1)
    assert at_published_sizes(boundary) == [4] * 5
    widths = (64, 128, 256, 256, 256)
    branch = DisplacementBranch(channels, strides, widths=widths, fused=256)
    assert at_published_sizes(branch) == [8, 16, 16, 16, 16]
    shapes = [tuple(fusion.conv.weight.shape[:2]) for fusion in branch.fusions]
    assert shapes == [(256, 3 * 256), (256, 256 + 128 + 64)]
    assert branch.head.weight.shape == (2, 256, 1, 1)
    assert branch.head.bias is None


def test_levels_finer_than_the_grid_are_max_pooled():
    model, batch = tiny().eval(), images()
    raw, levels = model.backbone(batch), model.levels(batch)
    assert levels[0].shape[-2:] == (4, 6)
    for y in range(4):
        for x in range(6):
            cell = raw[0][..., 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
            assert torch.equal(levels[0][..., y, x], cell.flatten(2).amax(-1))
    assert all(torch.equal(a, b) for a, b in zip(raw[1:], levels[1:]))


def test_boundary_is_read_from_all_levels_side_by_side():
    model, batch = tiny(flip=False).eval(), images()
    branch, levels = model.boundary_branch, model.levels(batch)
    parts = [embedded(e, f, (4, 6)) for e, f in zip(branch.embeddings, levels)]
    weight, bias = branch.head.weight[0, :, 0, 0], branch.head.bias[0]
    logits = torch.einsum('c,bchw->bhw', weight, torch.cat(parts, 1)) + bias
    expected = 1 / (1 + (-logits).exp())
    assert expected.std() > 0.03
    torch.testing.assert_close(model.boundary(batch), expected)


def test_displacements_come_from_the_coarsest_level_down():
    model, batch = tiny().eval(), images()
    branch, levels = model.displacement_branch, model.levels(batch)
    fine, middle, coarse = zip(branch.embeddings, levels)
    # two levels share the grid's stride: the coarsest meets both
    parts = [embedded(*fine, (4, 6)), embedded(*middle, (4, 6))]
    coarse = embedded(*coarse, (2, 3))
    coarse = F.interpolate(coarse, (4, 6), mode='bilinear', align_corners=False)
    (fusion,) = branch.fusions
    fused = embedded(fusion, torch.cat([*parts, coarse], 1), (4, 6))
    expected = torch.einsum('oc,bchw->bohw', branch.head.weight[..., 0, 0], fused)
    torch.testing.assert_close(branch(levels), expected)


@pytest.mark.parametrize('strides', [(4, 4, 4), (4, 8, 16), (4, 4, 16)])
def test_displacements_have_the_size_of_the_finest_level(strides):
    branch = DisplacementBranch((8, 8, 8), strides, widths=(8, 16, 24), fused=8)
    levels = [torch.rand(1, 8, 32 // s, 48 // s) for s in strides]
    assert branch(levels).shape == (1, 2, 8, 12)


def line(dy, dx):
    """Cells of the path, as tests of ``line_pixels`` prove them by geometry."""
    return {
        (y, x)
        for y in range(min(0, dy), max(0, dy) + 1)
        for x in range(min(0, dx), max(0, dx) + 1)
        if abs(dy * x - dx * y) <= (abs(dy) + abs(dx)) / 2
    }


def loop_losses(boundary, field, cells):
    """The three losses from lists of pairs within a radius of 3, in Python floats."""
    near = [(0, 1), (0, 2), *((dy, dx) for dy in (1, 2) for dx in range(-2, 3))]
    terms = dict(fg=[], bg=[], apart=[], moved=[], still=[])
    for b, plane in enumerate(cells):
        for y, row in enumerate(plane):
            for x, label in enumerate(row):
                for dy, dx in near:
                    v, u = y + dy, x + dx
                    if not (v < len(plane) and 0 <= u < len(row)):
                        continue
                    if 255 in (label, plane[v][u]):
                        continue
                    path = [boundary[b, y + i, x + j].item() for i, j in line(dy, dx)]
                    hat = (field[b, :, v, u] - field[b, :, y, x]).tolist()
                    if label != plane[v][u]:
                        terms['apart'].append(-math.log(max(path)))
                        continue
                    terms['fg' if label else 'bg'].append(-math.log(1 - max(path)))
                    offset = (dy, dx) if label else (0, 0)
                    kind = 'moved' if label else 'still'
                    terms[kind].append(sum(abs(a - h) for a, h in zip(offset, hat)))
    fg, bg, apart, moved, still = (sum(t) / len(t) for t in terms.values())
    return dict(
        loss_boundary=fg / 2 + bg / 2 + apart,
        loss_displacement_foreground=moved,
        loss_displacement_background=still,
    )


def test_losses_are_means_over_pairs_of_the_grid():
    model, batch = tiny(freeze_backbone=False), images()
    losses = model(batch, [blocks(cells) for cells in CELLS], 'loss')
    levels = model.levels(batch)
    boundary = model.boundary_branch(levels, (4, 6)).sigmoid()
    expected = loop_losses(boundary, model.displacement_branch(levels), CELLS)
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        # within what keeps the logarithms finite
        assert losses[name].item() == pytest.approx(value, rel=1e-4), name


def test_undecided_labels_cost_nothing():
    model, batch = tiny(freeze_backbone=False), images(1)
    losses = model(batch, [blocks([[255] * 6] * 4)], 'loss')
    assert [loss.item() for loss in losses.values()] == [0, 0, 0]
    sum(losses.values()).backward()
    # every parameter takes part, as distributed training needs
    gradients = [p.grad for p in model.parameters()]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


def test_frozen_backbone_keeps_weights_and_statistics():
    model, batch = tiny().train(), images()
    before = {
        name: value.clone() for name, value in model.backbone.state_dict().items()
    }
    sum(model(batch, [blocks(cells) for cells in CELLS], 'loss').values()).backward()
    for name, parameter in model.named_parameters():
        frozen = name.startswith('backbone')
        assert (parameter.grad is None) == frozen, name
        assert parameter.requires_grad != frozen, name
    after = model.backbone.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert model.boundary_branch.training


def test_backbone_from_scratch_learns():
    model, batch = tiny(freeze_backbone=False).train(), images()
    sum(model(batch, [blocks(cells) for cells in CELLS], 'loss').values()).backward()
    assert all(p.grad.any() for p in model.backbone.steps[0][0].parameters())
    assert model.backbone.steps[0][1].num_batches_tracked == 1


def test_boundary_of_the_mirror_image_is_mirrored():
    model, batch = tiny().eval(), images()
    boundary = model.boundary(batch)
    assert torch.equal(model.boundary(batch.flip(-1)), boundary.flip(-1))
    assert not torch.equal(tiny(flip=False).eval().boundary(batch), boundary)


def test_sides_that_are_no_multiple_of_the_stride_are_rounded_up():
    model = tiny().eval()
    assert model.boundary(images(1, 13, 18)).shape == (1, 4, 5)
    assert model.affinity(images(1, 13, 18)).shape == (1, 4, 4, 5)


def walked_by_a_matrix(seeds, boundary, *, exponent, steps):
    """The walk with its transition matrix written out."""
    height, width = boundary.shape
    weights = torch.eye(height * width, dtype=torch.float64)
    for y in range(height):
        for x in range(width):
            for dy, dx in [(0, 1), (1, -1), (1, 0), (1, 1)]:
                v, u = y + dy, x + dx
                if v < height and 0 <= u < width:
                    path = [boundary[y + i, x + j] for i, j in line(dy, dx)]
                    pair = y * width + x, v * width + u
                    weights[pair] = weights[pair[::-1]] = (1 - max(path)) ** exponent
    transition = weights / weights.sum(1, keepdim=True)
    start = (seeds * (1 - boundary)).flatten(1)
    return (start @ transition.matrix_power(steps).T).view_as(seeds)


def test_planes_walk_from_within_the_boundaries():
    model, batch = tiny().eval(), images(1)
    planes = images(1, seed=3)[0].abs()
    seeds = planes.unflatten(2, (6, 4)).unflatten(1, (4, 4)).mean((2, 4))
    boundary = model.boundary(batch)[0].detach()
    with torch.no_grad():
        got = model.refine_planes(planes, batch, exponent=3, steps=7)
    expected = walked_by_a_matrix(seeds, boundary, exponent=3, steps=7)
    torch.testing.assert_close(got, expected)


def test_walk_does_not_enter_the_padding():
    model, batch = tiny(flip=False).eval(), images(1)
    planes = torch.ones(1, 12, 16, dtype=torch.float64)
    with torch.no_grad():
        got = model.refine_planes(planes, batch, exponent=3, steps=50)
    boundary = model.boundary(batch)[0, :3, :4].detach()
    expected = walked_by_a_matrix(torch.ones(1, 3, 4), boundary, exponent=3, steps=50)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(in_channels=(8, 16)), 'one number a level'),
        (dict(displacement_channels=(8, 8)), 'one number a level'),
        (dict(strides=(2, 8, 4)), 'from fine to coarse'),
        (dict(strides=(8, 8, 16)), "up to the grid's 4"),
        (
            dict(boundary_channels=12),
            r'boundary_channels: expected multiples of 8.* 12',
        ),
        (dict(fused_channels=136), r'fused_channels: expected multiples .*got 136'),
        (dict(displacement_channels=(8, 4, 8)), 'displacement_channels.* got 4'),
        (dict(radius=1), 'radius'),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ConfigError, match=message):
        tiny(**settings)


def test_levels_are_checked():
    model = tiny(in_channels=(8, 16, 24), strides=(2, 4, 8))
    with pytest.raises(
        ConfigError, match=r'\(24, 2, 3\).*the backbone gives.*\(16, 2,'
    ):
        model.levels(images())


@pytest.mark.parametrize('name', ['irn_r50_voc', 'irn_r50_coco'])
def test_published_configs_train_new_layers_alone(name):
    config = Config.fromfile(CONFIGS / f'{name}.py')
    assert 'freeze_backbone' not in config.model
    model = tiny()
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {}
    for group in wrapper.param_groups:
        assert (group['momentum'], group['weight_decay']) == (0, 1e-4)
        for parameter in group['params']:
            if parameter.requires_grad:
                branch = names[id(parameter)].split('.')[0]
                rates.setdefault(branch, set()).add(group['lr'])
    assert rates == dict(boundary_branch={0.1}, displacement_branch={1.0})
    (decay,) = config.param_scheduler
    assert (decay.type, decay.end, config.train_cfg.max_epochs) == ('PolyLR', 3, 3)
    assert (
        config.train_dataloader.batch_size * 4 == config.auto_scale_lr.base_batch_size
    )


def test_unknown_setting_is_refused():
    with pytest.raises(TypeError, match='raduis'):
        tiny(raduis=5)
