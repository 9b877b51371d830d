"""Attention to two views: against loops over the entries of both passes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pseudo_label_run import write_checkpoint, write_config

from mmwsss.apis.attention_comparison import attention_pairs
from mmwsss.apis.compared_images import ComparedImage
from mmwsss.apis.compared_methods import Method, load_methods
from mmwsss.utils.errors import ConfigError, DataError

NAME = '2007_000001'


@pytest.fixture(scope='module')
def kept(tmp_path_factory):
    """What the first test has made, and where."""
    return dict(folder=tmp_path_factory.mktemp('attention'))


@pytest.fixture
def place(kept, voc_root):
    """A method, and an image that its pipeline makes 32 x 32, 4 x 4 patches."""
    if 'method' not in kept:
        folder = kept['folder']
        config = write_config(folder, voc_root)
        weights = write_checkpoint(folder / 'tiny.pth', config)
        entry = ('tiny', str(config), str(weights))
        (kept['method'],) = load_methods([entry], device='cpu')
    image = ComparedImage(NAME, str(voc_root / f'JPEGImages/{NAME}.jpg'))
    return kept['method'], image


def attentions_of(method, image, turn):
    """Return head-mean attention between patches by block, of a turned image."""
    sample = method.inferencer.pipeline(
        dict(img=image[..., ::-1].copy(), img_shape=image.shape[:2], ori_shape=(40, 60))
    )
    batch = dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']])
    model = method.inferencer.model
    inputs = model.data_preprocessor(batch, False)['inputs'].numpy()
    turned = torch.from_numpy(np.ascontiguousarray(turn(inputs)))
    with torch.no_grad():
        return [a[0].numpy() for a in model.backbone(turned).attentions]


# where patch (row, column) of 4 x 4 lies in the view
PLACES = {
    'hflip': (lambda x: np.flip(x, 3), lambda row, column: (row, 3 - column)),
    'rot90': (lambda x: np.rot90(x, 1, (2, 3)), lambda row, column: (3 - column, row)),
}


@pytest.mark.parametrize('view', PLACES)
@pytest.mark.parametrize('block', [None, 1])
def test_matrices_are_those_of_both_passes(place, view, block):
    method, image = place
    (pair,) = attention_pairs(method, [image], view=view, block=block)
    turn, moved = PLACES[view]
    first = attentions_of(method, pair.image, lambda x: x)
    second = attentions_of(method, pair.image, turn)
    if block is not None:
        first, second = [first[block]], [second[block]]
    cells = [(row, column) for row in range(4) for column in range(4)]
    order = [4 * r + c for r, c in (moved(*cell) for cell in cells)]
    distances = np.zeros((len(first), 16, 16))
    activation = []
    for t, (one, two) in enumerate(zip(first, second)):
        for i in range(16):
            activation.append(abs(one[0, 1 + i] - two[0, 1 + order[i]]))
            for j in range(16):
                other = two[1 + order[i], 1 + order[j]]
                distances[t, i, j] = abs(one[1 + i, 1 + j] - other)
    patches = pair.patches
    np.testing.assert_allclose(patches.difference, distances.mean(0), atol=1e-6)
    assert pair.affinity == pytest.approx(distances.mean(), abs=1e-7)
    assert pair.affinity == pytest.approx(float(patches.difference.mean()), abs=1e-7)
    assert pair.activation == pytest.approx(np.mean(activation), abs=1e-7)
    assert pair.affinity > 1e-4
    for matrix, blocks in ((patches.first, first), (patches.second, second)):
        np.testing.assert_allclose(matrix, np.mean(blocks, 0)[1:, 1:], atol=1e-6)
    for i, j in ((0, 5), (7, 2)):
        assert patches.restored[i, j] == patches.second[order[i], order[j]]
    shown = {'hflip': pair.image[:, ::-1], 'rot90': np.rot90(pair.image)}[view]
    np.testing.assert_array_equal(pair.view, shown)


def test_view_that_changes_nothing_differs_by_nothing(place):
    method, image = place
    (pair,) = attention_pairs(method, [image], view='identity')
    assert pair.affinity == pair.activation == float(pair.patches.difference.max()) == 0


def test_what_has_no_such_attention(place):
    method, image = place
    with pytest.raises(
        ConfigError, match=r'method tiny: block: expected 0\.\.1, got 2'
    ):
        attention_pairs(method, [image], view='hflip', block=2)
    with pytest.raises(DataError, match='method tiny: image cannot be read: gone.jpg'):
        attention_pairs(method, [ComparedImage('a', 'gone.jpg')], view='hflip')
    other = Method('cam', '', '', SimpleNamespace(model=torch.nn.Identity()))
    with pytest.raises(ConfigError, match='method cam: Identity has no attention betw'):
        attention_pairs(other, [image], view='hflip')
