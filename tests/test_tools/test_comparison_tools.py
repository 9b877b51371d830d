"""The tools of the papers' figures: their files, the way to make them again, errors."""

import json
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pseudo_label_run import ROOT, keep_images, write_checkpoint, write_config

FOLDER = ROOT / 'tools/analysis'
FIRST, SECOND = '2007_000001', '2007_000002'


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    return tmp_path_factory.mktemp('compared')


@pytest.fixture
def tool(place, tmp_path, voc_root, monkeypatch, capsys):
    """Run a tool where a tiny model is; return exit status, output and errors."""
    monkeypatch.setattr('mmengine.dataset.base_dataset.gc.collect', lambda: 0)
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(FOLDER))
    if not Path('VOC2012').exists():
        keep_images(voc_root, 3)
        shutil.copytree(voc_root, 'VOC2012')
        write_checkpoint('tiny.pth', write_config(Path(), 'VOC2012'))

    def run(name, *arguments):
        path = str(FOLDER / f'{name}.py')
        monkeypatch.setattr(sys, 'argv', [path, *map(str, arguments)])
        status = 0
        try:
            runpy.run_path(path, run_name='__main__')
        except SystemExit as error:
            status = error.code
        return status, *capsys.readouterr()

    yield run
    sys.modules.pop('comparison_grid', None)


METHOD = ['--method', 'tiny', 'tiny.py', 'tiny.pth']
SMALL = ['--dpi', 50, '--show', 'seeds']


def read(path):
    return json.loads(path.read_text())


def test_grid_and_the_command_that_makes_it_again(tool, tmp_path):
    out = tmp_path / 'a.png'
    arguments = ['--out', out, *METHOD, '--images', SECOND, FIRST, *SMALL]
    status, said, error = tool('comparison_grid', *arguments)
    assert (status, error) == (0, '')
    assert said.splitlines()[-1] == f'{out}: 2 rows of 2 images; {out}.json'
    record = read(tmp_path / 'a.png.json')
    assert [row['image'] for row in record['rows']] == [SECOND, FIRST]
    assert record['ranking'] is None
    drawn = (tmp_path / 'a.png').read_bytes()
    (tmp_path / 'a.png').unlink()
    python, path, *again = shlex.split(record['command'])
    assert (python, path) == ('python', str(FOLDER / 'comparison_grid.py'))
    assert tool('comparison_grid', *again)[0] == 0
    assert (tmp_path / 'a.png').read_bytes() == drawn


def test_worst_images_come_first(tool, tmp_path):
    arguments = ['--out', tmp_path / 'w.png', *METHOD, '--worst', 2, *SMALL]
    assert tool('comparison_grid', *arguments)[0] == 0
    record = read(tmp_path / 'w.png.json')
    assert record['ranking'] == dict(by='tiny', order='worst', of=3)
    values = [row['methods']['tiny']['iou']['seeds'] for row in record['rows']]
    assert values == sorted(values) and len(values) == 2


def test_own_files_masks_points_and_a_palette(tool, tmp_path, voc_root):
    own, mask = tmp_path / 'own.jpg', tmp_path / 'own.png'
    shutil.copy(voc_root / f'JPEGImages/{FIRST}.jpg', own)
    shutil.copy(voc_root / f'SegmentationClass/{FIRST}.png', mask)
    arguments = ['--out', tmp_path / 'p.png', *METHOD, '--files', own]
    arguments += ['--masks', tmp_path]
    arguments += ['--point', 'own', 30, 20, '--colours', 16, '--found', '--dpi', 40]
    assert tool('comparison_grid', *arguments)[0] == 0
    (row,) = read(tmp_path / 'p.png.json')['rows']
    assert (row['point'], row['mask']) == ([30, 20], str(mask))
    assert not row['methods']['tiny']['tags_given']
    with Image.open(tmp_path / 'p.png') as image:
        assert len(image.getcolors()) <= 16


def test_attention_of_a_network(tool, tmp_path):
    out = tmp_path / 'v.png'
    arguments = ['--out', out, *METHOD, '--count', 1, '--view', 'rot90']
    status, said, error = tool('attention_views', *arguments, '--dpi', 40)
    assert (status, said.splitlines()[-1], error) == (0, f'{out} {out}.json', '')
    record = read(tmp_path / 'v.png.json')
    assert (record['view'], record['block']) == ('rot90', None)
    assert [row['image'] for row in record['rows']] == [FIRST]
    assert all(0 < row['affinity_consistency'] < 1 for row in record['rows'])


def test_toy(tool, tmp_path):
    arguments = [
        '--out',
        tmp_path / 't.png',
        '--view',
        'vflip',
        '--grid',
        2,
        3,
        '--dpi',
        40,
    ]
    assert tool('attention_views', *arguments)[0] == 0
    record = read(tmp_path / 't.png.json')
    assert (record['grid'], record['order']) == ([2, 3], dict(vflip=[3, 4, 5, 0, 1, 2]))
    with Image.open(tmp_path / 't.png') as image:
        assert np.ptp(np.asarray(image.convert('L'))) == 255


@pytest.mark.parametrize(
    ('name', 'arguments', 'message'),
    [
        (
            'comparison_grid',
            ['--out', 'a.gif', *METHOD],
            'a.gif: a figure ends in .png',
        ),
        ('comparison_grid', ['--out', 'a.png'], 'method: expected one or more with'),
        (
            'comparison_grid',
            ['--out', 'a.png', *METHOD, '--images', FIRST, '--count', 2],
            '--count 2: these images have names already',
        ),
        (
            'comparison_grid',
            ['--out', 'a.png', *METHOD, '--images', FIRST, '--worst', 2],
            '--worst and --best choose the images: leave --images',
        ),
        (
            'comparison_grid',
            ['--out', 'a.png', *METHOD, '--point', FIRST, 'x', 1],
            '--point: expected IMAGE X Y (could not convert',
        ),
        (
            'comparison_grid',
            ['--out', 'a.png', *METHOD, '--split', 'val'],
            "no config has a val_dataloader of a data set of mmwsss's: name a",
        ),
        (
            'comparison_grid',
            ['--out', 'a.png', *METHOD, '--masks', '.'],
            '--masks . is of --files: name both or neither',
        ),
        (
            'attention_views',
            ['--out', 'a.png', '--block', 1],
            '--block is of a network: name one with --method',
        ),
        (
            'attention_views',
            ['--out', 'a.png', '--grid', 0, 1],
            '--grid: expected at least one patch a side, got (0, 1)',
        ),
        (
            'attention_views',
            ['--out', 'a.png', *METHOD, '--grid', 4, 4],
            '--method: leave --grid out and choose one --view',
        ),
    ],
)
def test_errors_are_one_line(tool, place, name, arguments, message):
    status, _, error = tool(name, *arguments)
    assert status == 1
    (line,) = error.splitlines()
    assert line.startswith(f'ConfigError: {message}')
    assert not [*place.glob('a.*')]
