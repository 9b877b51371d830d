"""The page of a data set: what is on it, what is said of it, and what is refused."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from PIL import Image
from tiny_run import ROOT

from mmwsss.apis.launch import run_tool
from mmwsss.datasets.synthetic import (
    SYNTHETIC_METAINFO,
    SyntheticSettings,
    write_synthetic,
)

TOOL = ROOT / 'tools/browse_dataset.py'
CAM = ROOT / 'configs/custom/cam.py'
ACR = ROOT / 'configs/acr/hybrid_embedded.py'


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Five images, with tags in a table too, as a user would have them."""
    root = tmp_path_factory.mktemp('browse') / 'data'
    write_synthetic(root, SyntheticSettings(train=5, val=1, test=1, size=48))
    lists = root / 'ImageSets/Segmentation'
    lines = (lists / 'train_tags.txt').read_text().splitlines()
    parts = [line.split() for line in lines]
    rows = [f'{name}.jpg,{";".join(tags)}\n' for name, *tags in parts]
    (root / 'tags.csv').write_text(''.join(rows))
    return root


def own_images(root):
    classes = ','.join(SYNTHETIC_METAINFO['classes'][1:])
    loader = 'train_dataloader.dataset'
    return [
        '--cfg-options',
        f'{loader}.data_root={root}/JPEGImages',
        f'{loader}.tag_file={root}/tags.csv',
        f'{loader}.classes={classes}',
        f'{loader}.part=None',
    ]


def embedded(root, split='train'):
    return ['--cfg-options', f'{split}_dataloader.dataset.data_root={root}']


def words_of(root, name):
    table = (root / 'tags.csv').read_text().splitlines()
    row = next(line for line in table if line.startswith(name))
    return row.partition(',')[2].split(';')


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location('browse_dataset', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


@pytest.fixture
def browse(tool, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv('COLUMNS', '200')

    def browse(config, *arguments, out=tmp_path / 'out'):
        command = ['browse', str(config), '--out', str(out), *arguments]
        monkeypatch.setattr(sys, 'argv', command)
        code = 0
        try:
            run_tool(tool.main)
        except SystemExit as stop:
            code = stop.code
        pages = {path.name: path for path in Path(out).glob('*.png')}
        return code, pages, capsys.readouterr()

    return browse


@pytest.fixture
def figures(tool, monkeypatch):
    """The figures that the tool draws."""
    drawn, draw = [], tool.browsing_figure
    monkeypatch.setattr(
        tool, 'browsing_figure', lambda rows: drawn.append(draw(rows)) or drawn[-1]
    )
    return drawn


def shown(figure):
    """Titles and pixels of a page's pictures."""
    return [
        (axes.get_title(), np.asarray(axes.images[0].get_array()))
        for axes in figure.axes
        if axes.images
    ]


def colourfulness(pixels):
    return np.ptp(pixels.astype(int), axis=-1)


def test_own_images_in_a_process_of_its_own(root, tmp_path):
    command = [sys.executable, str(TOOL), str(CAM), '--out', str(tmp_path), '--count']
    done = subprocess.run(
        [*command, '4', *own_images(root)],
        capture_output=True,
        text=True,
        env={**os.environ, 'COLUMNS': '200'},
    )
    assert done.returncode == 0, done.stderr
    page = tmp_path / 'train_0-3.png'
    assert f'page: {page}' in done.stdout
    for number in range(4):
        name = f'train_{number:05d}'
        (line,) = (row for row in done.stdout.splitlines() if name in row)
        assert '224x224' in line
        assert all(word in line for word in words_of(root, name))
    assert np.asarray(Image.open(page).convert('RGB')).std() > 0
    assert [path.name for path in tmp_path.iterdir()] == [page.name]


def test_both_views_and_the_way_back(browse, figures, root):
    code, pages, printed = browse(ACR, '--start', '3', '--count', '9', *embedded(root))
    assert (code, list(pages)) == (0, ['train_3-4.png'])
    assert 'difference to the image 0.00 grey levels in the mean, 0.00 at most' in (
        printed.out
    )
    pictures = shown(figures[0])
    assert len(pictures) == 2 * 4
    for number, start in ((3, 0), (4, 4)):
        (caption, image), (_, second), _, (difference, heat) = pictures[start:][:4]
        name = f'train_0000{number}'
        assert caption.split('\n')[0] == f'{number}: {name}'
        assert caption.replace('\n', ' ').endswith(', '.join(words_of(root, name)))
        np.testing.assert_array_equal(second, image[:, ::-1])
        assert difference.endswith('mean 0.0, largest 0.0')
        assert colourfulness(heat).max() <= 3  # grey: no heat anywhere


def test_a_wrong_way_back_is_said_and_shown(browse, figures, root, monkeypatch):
    order = 'mmwsss.models.views.geometric.inverse_token_order'
    # as if the view had moved nothing
    monkeypatch.setattr(order, lambda name, grid: torch.arange(1 + grid[0] * grid[1]))
    code, _, printed = browse(ACR, '--count', '1', *embedded(root))
    assert code == 0
    assert 'difference to the image 0.00' not in printed.out
    title, heat = shown(figures[0])[3]
    assert float(title.split()[-1]) > 20
    assert (colourfulness(heat) > 10).mean() > 0.3


def test_masks_are_drawn_beside(browse, figures, root):
    code, pages, _ = browse(ACR, '--split', 'test', *embedded(root, 'test'))
    assert (code, list(pages)) == (0, ['test_0-0.png'])
    (_, image), (title, overlay) = shown(figures[0])
    assert title == 'mask'
    mask = np.asarray(Image.open(root / 'SegmentationClass/test_00000.png'))
    grey = (overlay[..., 0] == overlay[..., 1]) & (overlay[..., 1] == overlay[..., 2])
    assert grey[mask == 0].all()
    colours = np.array(SYNTHETIC_METAINFO['palette'])
    luminance = image @ (0.299, 0.587, 0.114)
    objects = (mask > 0) & (mask < 255)
    expected = 0.7 * colours[mask[objects]] + 0.3 * luminance[objects][:, None]
    assert np.abs(overlay[objects] - expected).max() <= 0.51


def test_random_pages_and_no_views_of_seeds(browse, figures, root):
    names = []
    for start in ('0', '3'):
        arguments = ('--shuffle', '2', '--start', start, '--count', '3')
        code, pages, _ = browse(
            ACR, '--split', 'seed', *arguments, *embedded(root, 'seed')
        )
        assert code == 0
        names += [title.split('\n')[0] for title, _ in shown(figures[-1])]
    assert set(pages) == {'seed_shuffle2_0-2.png', 'seed_shuffle2_3-4.png'}
    assert sorted(names) == [f'{i}: train_0000{i}' for i in range(5)]
    assert names != sorted(names)


def test_refused(browse, root, tmp_path):
    (tmp_path / 'file').touch()
    cases = {
        'no config': browse('nowhere.py'),
        'no dev_dataloader; it has train, val, test, seed': browse(
            ACR, '--split', 'dev'
        ),
        'no image is there, the split has 5': browse(
            ACR, '--start', '5', *embedded(root)
        ),
        "did you mean 'train_dataloader'": browse(
            ACR, '--cfg-options', 'train_dataloder.x=1'
        ),
        'cannot write': browse(
            ACR, '--count', '1', *embedded(root), out=tmp_path / 'file/out'
        ),
    }
    for text, (code, pages, printed) in cases.items():
        assert (code, pages) == (1, {})
        assert text in printed.err.splitlines()[-1]
    for arguments in (['--count', '0'], ['--start', '-1'], ['--shuffle', '-1']):
        code, _, printed = browse(ACR, *arguments)
        assert code == 2
        assert f'{arguments[0]}: expected at least' in printed.err


def test_a_window_needs_a_display(browse, root, monkeypatch):
    monkeypatch.setattr(sys, 'platform', 'linux')
    for name in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(name, raising=False)
    code, pages, printed = browse(ACR, '--show', *embedded(root))
    assert (code, pages) == (1, {})
    assert 'there is no display (DISPLAY and WAYLAND_DISPLAY are not set)' in (
        printed.err
    )
    monkeypatch.setenv('DISPLAY', ':987')
    pyplot.switch_backend('agg')
    code, pages, printed = browse(ACR, '--show', *embedded(root))
    assert (code, pages) == (1, {})
    assert 'matplotlib cannot open windows here (its backend is agg)' in printed.err


def test_the_window_shows_the_page(tool, browse, root, monkeypatch):
    windows = []
    monkeypatch.setattr(tool, 'check_display', lambda: None)
    monkeypatch.setattr(pyplot, 'show', lambda: windows.append(pyplot.gcf()))
    arguments = ['--show', '--count', '2', '--split', 'seed']
    _, pages, _ = browse(ACR, *arguments, *embedded(root, 'seed'))
    (page,), (window,) = pages.values(), windows
    ((_, pixels),) = shown(window)
    pyplot.close(window)
    np.testing.assert_allclose(pixels * 255, np.asarray(Image.open(page)), atol=1e-4)
