"""The tool for own images: its files, its words, its example, and what it refuses."""

import json
import runpy
import shutil
import sys

import numpy as np
import pytest
from PIL import Image
from pseudo_label_run import ROOT, keep_images, write_checkpoint, write_config

TOOL = ROOT / 'tools/infer.py'


@pytest.fixture
def tool(tmp_path, voc_root, monkeypatch, capsys):
    """Run the tool on a tiny model; return exit status, output and errors."""
    keep_images(voc_root, 2)
    config = write_config(tmp_path, voc_root)
    checkpoint = write_checkpoint(tmp_path / 'tiny.pth', config)
    images = tmp_path / 'own'
    shutil.move(voc_root / 'JPEGImages', images)
    for extra in sorted(images.iterdir())[2:]:
        extra.unlink()

    def run(*arguments, config=config):
        start = [TOOL, config, checkpoint, *arguments]
        monkeypatch.setattr(sys, 'argv', list(map(str, start)))
        status = 0
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
        except SystemExit as error:
            status = error.code
        return status, *capsys.readouterr()

    run.images = images
    return run


def test_folder_of_images(tool, tmp_path):
    out = tmp_path / 'out'
    result = tool(
        tool.images, '--out', out, '--tags', 'cat', 'person', '--batch-size', 2
    )
    # nothing but the summary: progress is for terminals
    assert result == (0, f'{out}: what was found in 2 images; pictures in vis\n', '')
    names = ['2007_000001', '2007_000002']
    for folder, suffix in (('vis', 'png'), ('seeds', 'png'), ('labels', 'png')):
        assert sorted(p.name for p in (out / folder).iterdir()) == [
            f'{name}.{suffix}' for name in names
        ]
    summary = json.loads((out / f'scores/{names[1]}.json').read_text())
    assert summary['tags'] == ['cat', 'person']
    assert summary['point'] is None
    with Image.open(out / f'seeds/{names[0]}.png') as seeds:
        assert seeds.size == (60, 40)
        assert set(np.unique(np.array(seeds))) <= {0, 8, 15}


def test_settings_reach_the_inferencer(tool, tmp_path):
    out = tmp_path / 'out'
    image = tool.images / '2007_000001.jpg'
    arguments = ['--out', out, '--point', 30, 20, '--refiner', 'threshold']
    arguments += ['--score-threshold', 0, '--background-threshold', 1]
    arguments += ['--cfg-options', 'refiner.type=threshold']
    arguments += ['refiner.background_threshold=1.0', '--device', 'cpu']
    status, _, error = tool(image.as_uri(), *arguments[:-2], *arguments[-2:])
    assert (status, error) == (0, '')
    summary = json.loads((out / 'scores/2007_000001.json').read_text())
    assert summary['point'] == [30, 20]
    assert len(summary['tags']) == 20
    for folder in ('seeds', 'labels'):
        with Image.open(out / f'{folder}/2007_000001.png') as labels:
            assert not np.array(labels).any()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['gone.jpg', '--out', 'o'], 'DataError: no image or folder at gone.jpg; che'),
        (['{own}', '--out', 'o', '--tags', 'dragon'], "ConfigError: no class 'dragon'"),
        (['{own}', '--out', 'o', '--point', '99', '0'], 'DataError: {own}/2007_000001'),
        (['{own}', '--out', 'o', '--refiner', 'x'], "ConfigError: no refiner 'x'"),
        (['{own}', '--out', 'o', '--device', 'x'], "ConfigError: device 'x' cannot"),
        (['{own}', '{own}', '--out', 'o'], 'DataError: {own}/2007_000001.jpg and'),
    ],
)
def test_errors_are_one_line(tool, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = str(tool.images)
    status, out, error = tool(*(text.format(own=own) for text in arguments))
    assert (status, out) == (1, '')
    (line,) = error.splitlines()
    assert line.startswith(message.format(own=own))


def test_config_that_does_not_exist(tool):
    status, _, error = tool(tool.images, '--out', 'o', config='acr/hybrid_embeded')
    assert status == 1
    assert error.startswith('ConfigError: no config acr/hybrid_embeded: neither a file')
    assert 'such as acr/hybrid_embedded' in error


def test_help_has_an_example(tool):
    status, out, _ = tool('--help')
    assert status == 0
    assert 'python tools/infer.py configs/acr/vit_hybrid_voc.py' in out
