"""Each view against attention that is made from what the image shows."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from model_builders import images

from mmwsss.functional.views import DIHEDRAL, apply_dihedral
from mmwsss.models.views import build_view
from mmwsss.registry import VIEWS
from mmwsss.utils.errors import ConfigError
from mmwsss.utils.randomness import StepDraws

STRIDE = 4
LUMINANCE = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).view(3, 1, 1)


def whole_numbers(count, height, width):
    """Images whose sums are exact in any order."""
    generator = torch.Generator().manual_seed(3)
    shape = count, 3, height, width
    return torch.randint(-4, 5, shape, generator=generator).double()


def content_attention(batch):
    """Attention between the mean colours of patches; class token: whole image."""
    patches = F.avg_pool2d(batch, STRIDE).flatten(2).mT
    tokens = torch.cat([batch.mean((2, 3))[:, None], patches], 1)
    return (tokens @ tokens.mT).softmax(-1)


def draws(count=4, *, seed=5, iteration=7, samples=None):
    return StepDraws(seed, iteration, tuple(samples or range(count)))


def dihedral(*elements):
    return dict(type='DihedralView', elements=elements)


def apply(config, batch, step=None):
    view = build_view(config)
    return view(batch, stride=STRIDE, draws=step or draws(len(batch)))


MIXED_ON_SQUARES = [
    dihedral(*DIHEDRAL),
    [dihedral('rot90'), dihedral('hflip')],
    [dihedral('hflip'), dihedral('rot90')],
    [dihedral(*DIHEDRAL), dihedral('rot90', 'transpose'), dihedral(*DIHEDRAL)],
]
ON_ANY_GRID = [dihedral(name) for name in DIHEDRAL] + [
    dihedral('hflip', 'identity', 'rot180'),
    [dihedral('rot90', 'transpose'), dihedral('vflip', 'identity')],
    [dihedral('antitranspose'), dihedral('rot270'), dihedral('hflip')],
]


@pytest.mark.parametrize(
    ('config', 'side'),
    [*((c, (16, 16)) for c in ON_ANY_GRID + MIXED_ON_SQUARES)]
    + [*((c, (8, 20)) for c in ON_ANY_GRID)],
)
def test_attention_of_the_view_comes_back_to_that_of_the_image(config, side):
    batch = whole_numbers(12, *side)
    view, restore = apply(config, batch)
    torch.testing.assert_close(
        restore(content_attention(view)), content_attention(batch), rtol=0, atol=1e-12
    )


def test_all_elements_are_drawn_and_each_image_gets_its_own():
    batch = whole_numbers(1, 16, 16).expand(64, -1, -1, -1)
    view, _ = apply(dihedral(*DIHEDRAL), batch)
    seen = [
        [name for name in DIHEDRAL if torch.equal(apply_dihedral(batch[0], name), v)]
        for v in view
    ]
    assert {name for (name,) in seen} == set(DIHEDRAL)


PER_IMAGE = [
    dihedral(*DIHEDRAL),
    dict(type='PatchHidingView', probability=0.5),
    [dihedral('hflip', 'vflip'), dict(type='PatchHidingView'), dict(type='GreyView')],
]


@pytest.mark.parametrize('config', PER_IMAGE)
def test_draws_of_an_image_depend_on_no_other(config):
    batch, places = whole_numbers(4, 16, 16), [10, 11, 12, 13]
    whole, _ = apply(config, batch, draws(samples=places))
    for order in itertools.permutations(range(4), 2):
        part, _ = apply(
            config, batch[list(order)], draws(samples=[places[i] for i in order])
        )
        assert torch.equal(part, whole[list(order)])


@pytest.mark.parametrize('config', [*PER_IMAGE, dict(type='ResizeView')])
def test_draws_change_with_iteration_and_seed(config):
    batch = whole_numbers(4, 64, 64)
    same, again, later, other = (
        apply(config, batch, draws(**key))[0]
        for key in (dict(), dict(), dict(iteration=8), dict(seed=6))
    )
    assert torch.equal(same, again)
    for changed in (later, other):
        assert changed.shape != same.shape or not torch.equal(changed, same)


def test_parts_of_a_composition_draw_apart():
    # two draws from {identity, hflip}: were they one, every image would come back
    config = [dihedral('identity', 'hflip')] * 2
    batch = whole_numbers(16, 16, 16)
    view, _ = apply(config, batch)
    kept = [torch.equal(v, image) for v, image in zip(view, batch)]
    assert 0 < sum(kept) < 16


def test_resize_is_one_for_the_batch_and_for_every_process():
    config = dict(type='ResizeView')
    sizes = set()
    for iteration in range(40):
        step = [draws(iteration=iteration, samples=s) for s in ([0, 1], [6])]
        one, _ = apply(config, whole_numbers(2, 16, 32), step[0])
        two, _ = apply(config, whole_numbers(1, 16, 32), step[1])
        assert one.shape[2:] == two.shape[2:]
        assert not any(side % STRIDE for side in one.shape[2:])
        sizes.add(tuple(side // STRIDE for side in one.shape[2:]))
    assert {rows for rows, _ in sizes} == {2, 3, 4, 5, 6}
    assert all(4 <= columns <= 12 for _, columns in sizes)


@pytest.mark.parametrize('factor', [(0.5, 0.5), (1.5, 1.5), (0.01, 0.01)])
def test_resized_attention_comes_back_to_the_grid(factor):
    batch = images(2, 16, 32, dtype=torch.float64)
    view, restore = apply(dict(type='ResizeView', factor=factor), batch)
    rows, columns = (max(1, int(side * factor[0])) for side in (4, 8))
    assert view.shape == (2, 3, rows * STRIDE, columns * STRIDE)
    restored = restore(content_attention(view))
    assert restored.shape == (2, 33, 33)
    torch.testing.assert_close(restored.sum(-1), torch.ones(2, 33).double())


def test_resize_shows_the_same_scene():
    # halving a slope averages pairs of pixels, away from the borders
    slope = torch.linspace(0, 1, 64, dtype=torch.float64).expand(1, 3, 32, 64)
    view, _ = apply(dict(type='ResizeView', factor=(0.5, 0.5)), slope)
    want = slope.unflatten(-1, (32, 2)).mean(-1)[..., :16, :]
    torch.testing.assert_close(view[..., 2:-2], want[..., 2:-2], rtol=0, atol=1e-6)


def test_no_resize_keeps_image_and_attention():
    batch = whole_numbers(1, 16, 16)
    view, restore = apply(dict(type='ResizeView', factor=(1.0, 1.0)), batch)
    attention = content_attention(batch)
    assert torch.equal(view, batch)
    assert torch.equal(restore(attention), attention)


def test_resize_composes_with_a_turn_of_an_oblong():
    batch = whole_numbers(1, 8, 16)
    config = [dict(type='ResizeView', factor=(2.0, 2.0)), dihedral('rot90')]
    view, restore = apply(config, batch)
    assert view.shape == (1, 3, 32, 16)
    resized, restore_size = apply(config[0], batch)
    torch.testing.assert_close(view, apply_dihedral(resized, 'rot90'))
    torch.testing.assert_close(
        restore(content_attention(view)), restore_size(content_attention(resized))
    )


@pytest.mark.parametrize('probability', [0.0, 0.3, 1.0])
def test_hidden_patches_show_the_mean_colour(probability):
    batch = images(8, 32, 64)
    config = dict(type='PatchHidingView', probability=probability)
    view, restore = apply(config, batch)
    hidden = 0
    for image, shown in zip(batch, view):
        mean = image.mean((1, 2))
        for r in range(0, 32, STRIDE):
            for c in range(0, 64, STRIDE):
                cell = slice(None), slice(r, r + STRIDE), slice(c, c + STRIDE)
                if torch.equal(shown[cell], image[cell]):
                    continue
                torch.testing.assert_close(
                    shown[cell], mean[:, None, None].expand(3, STRIDE, STRIDE)
                )
                hidden += 1
    # 1024 patches: four standard deviations around 0.3 are 0.06
    assert hidden / 1024 == pytest.approx(probability, abs=0.06 * (0 < probability < 1))
    attention = content_attention(batch)
    assert restore(attention) is attention


def test_grey_is_luminance_in_all_channels():
    batch = images(2, dtype=torch.float64)
    view, restore = apply(dict(type='GreyView'), batch)
    want = (batch * LUMINANCE).sum(1)
    for channel in range(3):
        torch.testing.assert_close(view[:, channel], want)
    attention = content_attention(batch)
    assert restore(attention) is attention


def test_views_do_not_write_into_the_image():
    batch = whole_numbers(4, 16, 16)
    kept = batch.clone()
    config = [dihedral(*DIHEDRAL), dict(type='PatchHidingView'), dict(type='GreyView')]
    apply(config, batch)
    assert torch.equal(batch, kept)


def test_mixed_orientation_needs_a_square_grid():
    batch = whole_numbers(8, 8, 16)
    with pytest.raises(ConfigError, match='2x4 patches two shapes.*square crops'):
        apply(dihedral('hflip', 'rot90'), batch)


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dihedral('hflip', 'flip'), r"elements .*'rot90'.*got \['hflip', 'flip'\]"),
        (dihedral(), 'elements must be out of'),
        (dict(type='PatchHidingView', probability=1.2), r'in \[0, 1\], got 1.2'),
        (dict(type='PatchHidingView', probability=-0.1), r'in \[0, 1\], got -0.1'),
        (dict(type='ResizeView', factor=(0.0, 1.0)), r'low <= high, got \(0.0, 1.0\)'),
        (dict(type='ResizeView', factor=(1.5, 0.5)), r'low <= high, got \(1.5, 0.5\)'),
    ],
)
def test_values_that_are_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        VIEWS.build(config)


@pytest.mark.parametrize('view', ['DihedralView', 'GreyView', 'ComposedView'])
def test_mistyped_argument(view):
    with pytest.raises(TypeError, match='element|takes no arguments'):
        VIEWS.build(dict(type=view, element=('hflip',)))
