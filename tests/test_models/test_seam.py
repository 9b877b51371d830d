"""SEAM against loops in float64: its formulas, losses, gradients and maps."""

import pytest
import torch
from model_builders import CLASSES, images, redraw, sample
from refiner_networks import WIDTHS
from torch.nn import functional as F

from mmwsss.models.classifiers import SEAMClassifier
from mmwsss.models.classifiers.seam import (
    equivariant_cross_loss,
    hardest_mean,
    pixel_correlation,
    resized,
    tagged_maps,
    with_background,
)
from mmwsss.utils.errors import ConfigError

SIDE, STRIDE = 16, 4
TAGS = [[1, 4], [0]]
RATIO = 0.3
HALF = (0.5, 0.5)


def tiny(**settings):
    """SEAM on two levels at strides of 2 and 4, in float64."""
    parts = dict(
        backbone=dict(type='TwoLevels'),
        head=dict(type='CAMHead', in_channels=WIDTHS[1], num_convs=0),
        correlation=dict(in_channels=WIDTHS[:1], channels=(4,)),
        scale=HALF,
        hard_ratio=RATIO,
    )
    return redraw(SEAMClassifier(CLASSES, **(parts | settings))).double()


def tagged():
    return [sample(tags, sample_idx=i) for i, tags in enumerate(TAGS)]


def batch_of(side=SIDE):
    return images(height=side, width=side, dtype=torch.float64)


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def block_mean(plane, y, x, side):
    rows = [plane[side * y + i, side * x + j] for i in range(side) for j in range(side)]
    return sum(float(value) for value in rows) / side**2


def cosine(a, b):
    dot = sum(p * q for p, q in zip(a, b))
    length = sum(p * p for p in a) ** 0.5 * sum(q * q for q in b) ** 0.5
    return dot / length


def correlated_by_loops(vectors, maps):
    """Average each map over the cells, weighed by the cosines that are positive."""
    found = []
    for row in vectors:
        weights = [max(0.0, cosine(row, other)) for other in vectors]
        total = sum(weights)
        found.append([sum(w * m for w, m in zip(weights, one)) / total for one in maps])
    return [list(plane) for plane in zip(*found)]


def with_background_by_loops(maps):
    top = [max(cell) for cell in zip(*maps)]
    kept = [[v if v == t else 0.0 for v, t in zip(plane, top)] for plane in maps]
    return [[1 - t for t in top], *kept]


def seen_by_loops(model, batch, tags):
    """Return logits, tagged maps and revised maps of one image, cells row-major."""
    level, features = (found[0] for found in model.backbone(batch))
    raw = model.head(features[None])[0]
    grid = raw.shape[1]
    cells = [(y, x) for y in range(grid) for x in range(grid)]
    logits = raw.flatten(1).mean(1)
    maps = []
    for index, plane in enumerate(raw.tolist()):
        top = max(max(row) for row in plane)
        positive = [max(0.0, plane[y][x]) / max(top, 1e-300) for y, x in cells]
        maps.append(positive if index in tags else [0.0] * len(cells))
    reduce, embed = model.correlation.reduce[0], model.correlation.embed
    vectors = []
    for y, x in cells:
        colour = [block_mean(plane, y, x, STRIDE) for plane in batch[0]]
        given = [block_mean(plane, y, x, 2) for plane in level]
        reduced = [
            max(0.0, float(bias) + sum(float(w) * g for w, g in zip(row, given)))
            for row, bias in zip(reduce.weight[:, :, 0, 0], reduce.bias)
        ]
        joined = colour + reduced
        weight = embed.weight[:, :, 0, 0]
        vectors.append([sum(float(w) * v for w, v in zip(r, joined)) for r in weight])
    return logits, maps, correlated_by_loops(vectors, with_background_by_loops(maps))


def halved(plane, grid):
    """Resize a map of cells to half: the mean of four neighbours."""
    table = torch.tensor(plane).view(grid, grid)
    half = range(grid // 2)
    return [block_mean(table, y, x, 2) for y in half for x in half]


def hardest(first, second):
    errors = [abs(a - b) for p, q in zip(first, second) for a, b in zip(p, q)]
    count = int(RATIO * len(errors))
    return sum(sorted(errors, reverse=True)[:count]) / count


def losses_by_loops(model, batch):
    view = F.interpolate(batch, scale_factor=0.5, mode='bilinear', antialias=True)
    grid = SIDE // STRIDE
    found = dict(loss_cls=0.0, loss_er=0.0, loss_ecr=0.0)
    for index, tags in enumerate(TAGS):
        one = slice(index, index + 1)
        first, second = (
            seen_by_loops(model, whole[one], tags) for whole in (batch, view)
        )
        for logits, _, _ in (first, second):
            for c, value in enumerate(logits.sigmoid().tolist()):
                share = value if c in tags else 1 - value
                found['loss_cls'] -= torch.tensor(share).log().item() / (2 * CLASSES)
        moved = [halved(plane, grid) for plane in first[1]]
        errors = [abs(a - b) for p, q in zip(moved, second[1]) for a, b in zip(p, q)]
        found['loss_er'] += sum(errors) / len(errors)
        revised = [halved(plane, grid) for plane in first[2]]
        found['loss_ecr'] += hardest(revised, with_background_by_loops(second[1]))
        found['loss_ecr'] += hardest(with_background_by_loops(moved), second[2])
    return {name: value / len(TAGS) for name, value in found.items()}


def test_losses_are_those_of_the_paper():
    model, batch = tiny(), batch_of()
    found = model.loss(batch, tagged())
    expected = losses_by_loops(model, batch)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert value > 0.01
        assert found[name].item() == pytest.approx(value, rel=1e-6), name


def test_weights_of_the_losses():
    batch = batch_of()
    plain = tiny().loss(batch, tagged())
    found = tiny(er_weight=3.0, ecr_weight=0.5).loss(batch, tagged())
    factors = dict(loss_cls=1.0, loss_er=3.0, loss_ecr=0.5)
    for name, factor in factors.items():
        torch.testing.assert_close(found[name], factor * plain[name])


def test_what_each_loss_teaches():
    """The module learns from its own loss alone, which teaches nothing else."""
    model = tiny()
    losses = model.loss(batch_of(), tagged())
    parameters = dict(model.named_parameters())
    for name, value in losses.items():
        gradients = torch.autograd.grad(
            value, list(parameters.values()), retain_graph=True, allow_unused=True
        )
        learning = {n for n, g in zip(parameters, gradients) if g is not None}
        module = {n for n in parameters if n.startswith('correlation.')}
        expected = module if name == 'loss_ecr' else parameters.keys() - module
        assert learning == expected, name
        assert min(g.abs().max() for g in gradients if g is not None) > 0


def test_the_module_learns_to_revise():
    model, batch = tiny(), batch_of()
    optimizer = torch.optim.Adam(model.correlation.parameters(), lr=0.01)
    history = []
    for _ in range(40):
        loss = model.loss(batch, tagged())['loss_ecr']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.95 * history[0]


def test_a_view_of_the_same_size_has_the_same_maps():
    model = tiny(scale=(1.0, 1.0))
    losses = model.loss(batch_of(), tagged())
    assert losses['loss_er'].item() == 0
    assert losses['loss_ecr'].item() > 0


def test_the_scale_is_drawn_by_iteration_and_alike_for_any_batch(monkeypatch):
    model = tiny(scale=(0.3, 1.0))
    view, sizes = model.view, []

    def note(inputs, **settings):
        made = view(inputs, **settings)
        sizes.append(made[0].shape[-1])
        return made

    model.view = note
    for iteration in (0, 0, 1, 2, 3):
        now = lambda iteration=iteration: (0, iteration)
        monkeypatch.setattr('mmwsss.utils.randomness.training_step', now)
        model.loss(batch_of(64), tagged())
    model.loss(batch_of(64)[:1], tagged()[:1])
    assert sizes[0] == sizes[1] and sizes[4] == sizes[5]
    assert len(set(sizes)) > 2 and min(sizes) >= 19 and max(sizes) <= 64


def test_maps_are_the_revised_ones_of_both_views():
    model, batch = tiny(), batch_of()
    grid = SIDE // STRIDE
    for index, (found, tags) in enumerate(zip(model.predict(batch, tagged()), TAGS)):
        one = batch[index : index + 1]
        both = torch.zeros(CLASSES, grid, grid, dtype=torch.float64)
        for flip in (False, True):
            view = one.flip(-1) if flip else one
            logits, _, revised = seen_by_loops(model, view, tags)
            maps = torch.tensor(revised[1:]).view(-1, grid, grid)
            both += maps.flip(-1) if flip else maps
            if not flip:
                expected = logits.sigmoid().float()
        torch.testing.assert_close(found.pred_score, expected)
        picked = both[tags]
        picked = picked / picked.amax((1, 2), keepdim=True)
        torch.testing.assert_close(found.localization.data, picked)
        assert list(found.localization.classes) == tags


def test_images_without_recognized_classes_have_no_maps():
    model = tiny(tags='predicted', tag_threshold=1.1)
    for found in model.predict(batch_of(), [sample(), sample()]):
        assert found.localization.data.shape == (0, 4, 4)
        assert not found.pred_sem_seg.data.any()


def test_without_the_module_it_is_cam_with_two_views():
    model, batch = tiny(correlation=None), batch_of()
    whole = tiny().loss(batch, tagged())
    del whole['loss_ecr']
    assert model.loss(batch, tagged()) == whole
    maps = [model.class_maps(view).relu() for view in (batch, batch.flip(-1))]
    both = maps[0] + maps[1].flip(-1)
    for found, summed, tags in zip(model.predict(batch, tagged()), both, TAGS):
        expected = summed[tags] / summed[tags].amax((1, 2), keepdim=True)
        torch.testing.assert_close(found.localization.data, expected)


def test_pixel_correlation_by_loops():
    embedding, maps = draw(2, 3, 2, 3), draw(2, 4, 2, 3, seed=1)
    found = pixel_correlation(embedding, maps)
    for b in range(2):
        vectors = embedding[b].flatten(1).T.tolist()
        expected = correlated_by_loops(vectors, maps[b].flatten(1).tolist())
        torch.testing.assert_close(found[b].flatten(1), torch.tensor(expected).double())


def test_pixels_alike_share_and_pixels_apart_keep_their_values():
    maps = draw(1, 2, 2, 2)
    alike = pixel_correlation(torch.ones(1, 3, 2, 2).double(), maps)
    torch.testing.assert_close(alike, maps.mean((2, 3), keepdim=True).expand_as(maps))
    apart = pixel_correlation(torch.eye(4).double().view(1, 4, 2, 2), maps)
    torch.testing.assert_close(apart, maps)
    opposed = torch.tensor([1.0, -1.0]).double().view(1, 1, 1, 2)
    torch.testing.assert_close(
        pixel_correlation(opposed, maps[..., :1, :]), maps[..., :1, :]
    )


def test_half_precision_is_computed_in_single():
    embedding, maps = draw(1, 3, 4, 4).bfloat16(), draw(1, 2, 4, 4).bfloat16()
    expected = pixel_correlation(embedding.float(), maps.float())
    with torch.autocast('cpu', torch.bfloat16):
        found = pixel_correlation(embedding, maps)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


def test_gradients():
    embedding, maps = draw(1, 3, 2, 2), draw(1, 2, 2, 2, seed=1).sigmoid()
    inputs = [x.requires_grad_() for x in (embedding, maps)]
    assert torch.autograd.gradcheck(pixel_correlation, inputs)
    assert torch.autograd.gradcheck(with_background, inputs[1:])
    assert torch.autograd.gradcheck(lambda x: hardest_mean(x, 0.5), inputs[1:])
    tags = torch.tensor([[1, 0]])
    assert torch.autograd.gradcheck(lambda x: tagged_maps(x, tags), inputs[1])


def test_equal_classes_both_stay_and_an_empty_image_is_background():
    nothing = with_background(torch.zeros(1, 3, 2, 2))
    assert nothing[:, 0].eq(1).all() and not nothing[:, 1:].any()
    equal = with_background(torch.full((1, 2, 1, 1), 0.6))
    torch.testing.assert_close(equal.flatten(), torch.tensor([0.4, 0.6, 0.6]))


def test_all_errors_count_at_a_ratio_of_one_and_one_at_a_small_ratio():
    errors = draw(3, 4, 5).abs()
    torch.testing.assert_close(hardest_mean(errors, 1.0), errors.mean())
    torch.testing.assert_close(hardest_mean(errors, 1e-9), errors.amax((1, 2)).mean())


def test_cross_loss_of_maps_that_agree_is_zero():
    plain = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    revised = with_background(plain)
    loss = equivariant_cross_loss((revised, revised), (plain, plain), ratio=0.2)
    assert loss.item() == 0


def test_resized_is_the_mean_at_half_and_nothing_at_the_same_size():
    maps = draw(1, 2, 4, 4)
    torch.testing.assert_close(resized(maps, maps[..., :2, :2]), F.avg_pool2d(maps, 2))
    assert torch.equal(resized(maps, maps), maps)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(hard_ratio=0.0), r'hard_ratio must be in \(0, 1\], got 0.0'),
        (dict(scale=(0.0, 1.0)), 'factor must be 0 < low <= high'),
        (dict(correlation=dict(in_channels=(5,))), 'must name the same levels'),
        (dict(similarity=dict(steps=1)), 'correlation revises maps'),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ConfigError, match=message):
        tiny(**settings)


def test_other_levels_than_the_modules_are_refused():
    model = tiny(correlation=dict(in_channels=(7,), channels=(4,)))
    with pytest.raises(ConfigError, match=r'in_channels=\[7\], but .* have \[5\] chan'):
        model.loss(batch_of(), tagged())


def test_a_mistyped_setting_is_refused():
    with pytest.raises(TypeError, match='unexpected keyword'):
        tiny(correlation=dict(in_channels=(5,), channels=(4,), theta=1))


def test_formulas_refuse_other_shapes():
    with pytest.raises(ValueError, match='maps: expected shape'):
        pixel_correlation(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 4))
    with pytest.raises(ValueError, match='ratio: expected a share'):
        hardest_mean(torch.zeros(1, 2), 1.5)
