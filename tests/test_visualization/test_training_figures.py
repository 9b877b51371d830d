"""Pictures of a training hold the numbers that they are said to show."""

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from mmwsss.functional.views import apply_dihedral
from mmwsss.structures import WSSSDataSample
from mmwsss.structures.observation import MemoryState, Observation, ViewAttention
from mmwsss.visualization.examples import Painter
from mmwsss.visualization.overlays import heat_overlay
from mmwsss.visualization.training_figures import (
    Panel,
    affinity_figure,
    attention_figure,
    consistency_scalars,
    heat_map_figure,
    memory_figure,
    memory_scalars,
    panel_figure,
    view_colours,
)

PAINTER = Painter(
    ('background', 'cat', 'dog', 'cow'),
    [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)],
)
MEAN, STD = (120.0, 110.0, 100.0), (60.0, 50.0, 40.0)
BLOCKS, GRID = 2, (2, 3)
TOKENS = 1 + GRID[0] * GRID[1]


def normalized(image):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    return (image.float() - mean) / std


def attentions(seed):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.rand(TOKENS, TOKENS, generator=generator).softmax(-1)
        for _ in range(BLOCKS)
    ]


def observation(*, tags=(0, 2), seed=0, with_views=True):
    """An image of 8 x 9 pixels in an input of 8 x 12."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(256, (3, 8, 9), generator=generator, dtype=torch.uint8)
    inputs = torch.zeros(3, 8, 12)
    inputs[..., :9] = normalized(image)
    sample = WSSSDataSample(metainfo=dict(img_path='/a/first.jpg'))
    sample.set_pred_score(torch.tensor([0.875, 0.5, 0.25]))
    # a ramp that is 0 at the left and 1 at the right of the image, not of the input
    ramp = torch.linspace(0, 11 / 8, 12).expand(8, 12)
    maps = (
        torch.stack([ramp, ramp.flip(1)][: len(tags)]) if tags else ramp[:0][None][:0]
    )
    sample.set_localization(maps, tags, input_shape=(8, 12), align_corners=True)
    views = None
    if with_views:
        first, second, restored = (attentions(seed + i) for i in (1, 2, 3))
        view = apply_dihedral(inputs[None], 'hflip')[0]
        views = ViewAttention(view, GRID, first, second, restored)
    return Observation(image, inputs, sample, views)


def panels(figure):
    """Return the title of a picture, and title and array of each of its panels."""
    (axes,) = figure.axes
    title, *names = (text.get_text() for text in axes.texts)
    arrays = [np.asarray(image.get_array()) for image in axes.images]
    return title, list(zip(names, arrays, strict=True))


def test_heat_maps_are_those_of_the_tags():
    figure = heat_map_figure(PAINTER, [observation()], title='epoch 3')
    title, shown = panels(figure)
    assert title == 'epoch 3'
    assert [name for name, _ in shown] == [
        'first',
        'cat, probability 0.88',
        'cow, probability 0.25',
    ]
    image = observation().image.permute(1, 2, 0).numpy()
    ramp = np.tile(np.linspace(0, 1, 9, dtype=np.float32), (8, 1))
    np.testing.assert_array_equal(shown[0][1], image)
    for (_, pixels), scores in zip(shown[1:], (ramp, ramp[:, ::-1])):
        expected = heat_overlay(image, scores).astype(int)
        # a step of the colour table
        assert np.abs(pixels.astype(int) - expected).max() <= 2


def test_images_with_other_tags_share_a_picture():
    seen = [observation(), observation(tags=()), observation(tags=(1,))]
    figure = heat_map_figure(PAINTER, seen, title='')
    assert [name for name, _ in panels(figure)[1]] == [
        *('first', 'cat, probability 0.88', 'cow, probability 0.25'),
        'first',
        *('first', 'dog, probability 0.50'),
    ]
    (axes,) = figure.axes
    left, right, bottom, top = zip(*(image.get_extent() for image in axes.images))
    assert left[0] == left[3] == left[4] < right[0] < left[1] == left[5]
    assert bottom[0] > top[3] > bottom[3] > top[4] == top[5]


def test_panels_keep_their_shape():
    values = [np.zeros((4, 8)), np.zeros((6, 3)), np.zeros((5, 5, 3), np.uint8)]
    rows = [[Panel('', v) for v in values], [Panel('a\nb', values[0])]]
    figure = panel_figure(rows, title='')
    (axes,) = figure.axes
    for image in axes.images:
        left, right, bottom, top = image.get_extent()
        height, width = image.get_array().shape[:2]
        assert (top - bottom) / (right - left) == pytest.approx(height / width)
        assert 0 < left < right < axes.get_xlim()[1]
        assert 0 < bottom < top < axes.get_ylim()[1]


def test_attention_is_the_class_tokens_mean_over_blocks():
    seen = observation()
    _, shown = panels(attention_figure([seen, observation(with_views=False)], title=''))
    (name, image), (_, view), *maps = shown
    assert name == 'first' and image.shape == (8, 9, 3) and view.shape == (8, 12, 3)
    own, back = (
        np.mean([a[0, 1:].numpy() for a in blocks], 0)
        for blocks in (seen.views.first, seen.views.restored)
    )
    apart = np.mean(
        [
            np.abs(a[0, 1:].numpy() - b[0, 1:].numpy())
            for a, b in zip(seen.views.first, seen.views.restored)
        ],
        0,
    )
    for (_, drawn), expected in zip(maps, (own, back, apart), strict=True):
        np.testing.assert_allclose(drawn, expected.reshape(GRID), rtol=1e-5)
    top = max(own.max(), back.max())
    assert maps[0][0] == f'attention of the image,\n0 to {top:.3g}'
    assert maps[2][0] == f'difference, same shades,\nmean {apart.mean():.3g}'


def test_attentions_of_an_image_have_one_scale():
    figure = attention_figure([observation()], title='')
    limits = {image.get_clim() for image in figure.axes[0].images[2:]}
    assert len(limits) == 1
    assert limits.pop()[0] == 0


def test_affinity_is_between_patches():
    seen = observation()
    _, shown = panels(affinity_figure([seen], title=''))
    parts = seen.views.first, seen.views.second, seen.views.restored
    own, other, back = (np.mean([a[1:, 1:].numpy() for a in p], 0) for p in parts)
    apart = sum(
        (a[1:, 1:] - b[1:, 1:]).abs().numpy() for a, b in zip(parts[0], parts[2])
    )
    expected = (own, other, back, apart / BLOCKS)
    for (_, drawn), matrix in zip(shown, expected, strict=True):
        np.testing.assert_allclose(drawn, matrix, rtol=1e-5)
    assert shown[3][0].endswith(f'mean {apart.mean() / BLOCKS:.3g}')


def test_scalars_are_the_means_of_the_pictures():
    seen = [observation(seed=0), observation(seed=9), observation(with_views=False)]
    activation, affinity = [], []
    for one in seen[:2]:
        for a, b in zip(one.views.first, one.views.restored):
            pairs = [
                (i, j, abs(float(a[i, j]) - float(b[i, j])))
                for i in range(TOKENS)
                for j in range(1, TOKENS)
            ]
            activation += [d for i, _, d in pairs if i == 0]
            affinity += [d for i, _, d in pairs if i > 0]
    found = consistency_scalars(seen)
    assert found == {
        'views/activation_l1': pytest.approx(np.mean(activation), rel=1e-6),
        'views/affinity_l1': pytest.approx(np.mean(affinity), rel=1e-6),
    }
    assert consistency_scalars(seen[2:]) == {}


@pytest.mark.parametrize('swapped', [False, True])
def test_a_view_has_the_colours_of_its_image(swapped):
    seen = observation()
    # hidden patches are the mean colour, 0 in what the network is given
    view = apply_dihedral(seen.inputs[None], 'rot90')[0]
    if swapped:
        seen = Observation(seen.image, seen.inputs.flip(0), seen.sample)
        view = view.flip(0)
    pixels = view_colours(seen, view)
    assert pixels.shape == (12, 8, 3)
    whole = torch.tensor(MEAN).view(3, 1, 1).expand(3, 8, 12).round().to(torch.uint8)
    whole = whole.clone()
    whole[..., :9] = seen.image
    turned = apply_dihedral(whole[None], 'rot90')[0].permute(1, 2, 0)
    np.testing.assert_array_equal(pixels, turned.numpy())


def memory(counts, *, with_prototypes=True):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 4, 5, generator=generator)
    valid = torch.arange(4) < torch.tensor(counts)[:, None]
    if not with_prototypes:
        return MemoryState(features, valid)
    # the mean of a class's slots is drawn at the mean of their places
    means = (features * valid[..., None]).sum(1) / valid.sum(1, keepdim=True).clamp_min(
        1
    )
    prototypes = torch.stack([means, features[:, 0]], 1)
    return MemoryState(features, valid, prototypes, valid.sum(1) >= 2)


def test_occupancy_is_the_share_of_each_class():
    bars, _ = memory_figure(PAINTER, memory([4, 1, 0]), title='').axes
    assert [bar.get_width() for bar in bars.patches] == [1.0, 0.25, 0.0]
    assert [label.get_text() for label in bars.get_yticklabels()] == [
        'cat',
        'dog',
        'cow',
    ]
    assert bars.get_title() == '5 of 12 slots in use'
    colours = [bar.get_facecolor()[:3] for bar in bars.patches]
    assert colours == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]


def test_slots_and_prototypes_lie_in_one_plane():
    state = memory([4, 2, 1])
    _, plane = memory_figure(PAINTER, state, title='').axes
    slots, stars = (np.asarray(c.get_offsets()) for c in plane.collections)
    assert slots.shape == (7, 2) and stars.shape == (4, 2)
    np.testing.assert_allclose(slots.mean(0), 0, atol=1e-6)
    # prototypes of the two classes that are ready: the mean, and the first slot
    np.testing.assert_allclose(stars[0], slots[:4].mean(0), atol=1e-6)
    np.testing.assert_allclose(stars[1], slots[0], atol=1e-6)
    np.testing.assert_allclose(stars[2], slots[4:6].mean(0), atol=1e-6)
    colours = plane.collections[0].get_facecolors()[:, :3]
    owners = [0, 0, 0, 0, 1, 1, 2]
    np.testing.assert_array_equal(colours, np.eye(3)[owners])
    np.testing.assert_array_equal(
        plane.collections[1].get_facecolors()[:, :3], np.eye(3)[[0, 0, 1, 1]]
    )
    rows = state.features[state.valid].numpy()
    variances = np.linalg.eigvalsh(np.cov(rows.T, ddof=0))[::-1]
    assert plane.get_xlabel().endswith(
        f'{variances[0] / variances.sum():.0%} of the variance'
    )


def test_a_bank_alone_and_an_empty_one():
    _, plane = memory_figure(
        PAINTER, memory([1, 0, 0], with_prototypes=False), title=''
    ).axes
    assert len(plane.collections) == 1 and plane.get_title() == 'slots'
    figure = memory_figure(PAINTER, memory([0, 0, 0]), title='')
    assert figure.axes[1].get_title() == 'no region was kept yet'
    figure.canvas.draw()


def test_scalars_of_a_bank():
    assert memory_scalars(memory([4, 2, 0])) == {
        'memory/occupancy': 0.5,
        'memory/classes_with_prototypes': pytest.approx(2 / 3),
    }
    assert memory_scalars(memory([4, 2, 0], with_prototypes=False)) == {
        'memory/occupancy': 0.5
    }


def test_predictions_without_a_path_have_a_name():
    seen = observation()
    plain = WSSSDataSample().set_pred_score(seen.sample.pred_score)
    plain.localization = PixelData(data=seen.sample.localization.data)
    plain.localization.set_metainfo(
        dict(classes=(0, 2), input_shape=(8, 12), align_corners=True)
    )
    _, shown = panels(
        heat_map_figure(
            PAINTER, [Observation(seen.image, seen.inputs, plain)], title=''
        )
    )
    assert shown[0][0] == 'image'
