"""Figures of the concepts: what they show is right, small, and the same each time."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / 'tools/analysis'
LIMIT = 150_000


@pytest.fixture(scope='module')
def tools():
    """The tool's two modules; its folder is on the path as when it runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        found = []
        for name in ('concept_figures', 'concept_chain'):
            spec = importlib.util.spec_from_file_location(name, FOLDER / f'{name}.py')
            module = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, name, module)
            spec.loader.exec_module(module)
            found.append(module)
        yield found


def test_permutation_shows_numbers_and_their_way_back(tools):
    figure = tools[0].permutation_figure('rot90')
    shown = [
        [int(text.get_text()) for text in axes.texts]
        for axes in figure.axes
        if axes.texts
    ]
    image, view, places, back = (np.array(x).reshape(4, 4) for x in shown)
    np.testing.assert_array_equal(view, np.rot90(image))
    np.testing.assert_array_equal(back, image)
    # patch 0 of the upper left corner is turned to the lower left one
    assert places[0, 0] == 12
    assert figure.axes[-1].get_title() == 'difference to A: 0.000'


def test_attention_of_colours_is_that_of_the_patches(tools):
    image = torch.zeros(3, 4, 4)
    image[0, :, 2:] = 255
    attention = tools[0].colour_attention(image, 2)
    assert attention.shape == (1, 5, 5)
    assert not attention[0, 0].any() and not attention[0, :, 0].any()
    expected = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 1]]).repeat(2, 1) / 2
    torch.testing.assert_close(attention[0, 1:, 1:], expected.double())


def test_bank_counts_the_regions_it_has_seen(tools):
    bank, count = tools[0].fill_memory(6)
    tags = [tools[0].draw_scene(0, 'train', number, 96).tags for number in range(6)]
    names = tools[0].SYNTHETIC_METAINFO['classes'][1:]
    seen = [sum(name in its for its in tags) for name in names]
    assert count.tolist() == seen
    assert bank[0, int(count[0]) :].abs().max() == 0


def test_pairs_touch_or_do_not(tools):
    chain = tools[1]
    for touching in (False, True):
        _, label = chain.scene_of(('torch', 'brush'), 0, touching=touching)
        # classes 1 and 2, an outline of 255 between them where they touch
        first, second = (np.argwhere(label == value) for value in (1, 2))
        gap = np.abs(first[:, None] - second[None]).max(-1).min()
        assert len(first) > 300 and len(second) > 300
        assert (gap <= 4) == touching
    image, _ = chain.scene_of(('torch', 'beetle'), 3, touching=True)
    again, _ = chain.scene_of(('torch', 'beetle'), 3, touching=True)
    np.testing.assert_array_equal(image, again)


def test_overlap_leaves_outlines_out(tools):
    chain = tools[1]
    record = chain.SeedRecord(
        maps=np.array([[[1.0, 1.0], [0.0, 1.0]]], np.float32),
        classes=(2,),
        input_shape=(2, 2),
        img_shape=(2, 2),
        ori_shape=(2, 2),
        align_corners=True,
    )
    label = np.array([[3, 0], [3, 255]], np.uint8)
    np.testing.assert_array_equal(chain.overlap(record, label, 0.5), [[1, 3]])


def test_every_figure_can_be_drawn(tools, monkeypatch):
    monkeypatch.setattr(tools[0], 'SCENES', 24)
    assert set(tools[0].DRAWN) == {'permutation', 'consistency', 'memory'}
    for draw in tools[0].DRAWN.values():
        draw().canvas.draw()


def test_pictures_are_the_same_each_time(tools, tmp_path, monkeypatch, capsys):
    first = dict(permutation=tools[0].permutation_figure)
    monkeypatch.setattr(tools[0], 'DRAWN', first)
    monkeypatch.setattr(sys, 'argv', ['concept_figures.py', '--out', str(tmp_path)])
    tools[0].main()
    content = (tmp_path / 'permutation.png').read_bytes()
    tools[0].main()
    assert (tmp_path / 'permutation.png').read_bytes() == content
    assert f'permutation.png: {len(content)} bytes' in capsys.readouterr().out


def test_pictures_of_the_documentation_are_small():
    for path in (ROOT / 'docs/images').glob('*.png'):
        assert path.stat().st_size < LIMIT, path
        with Image.open(path) as image:
            image.verify()
