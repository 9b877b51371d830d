"""Files of predictions: which there are, what they hold, and that each is whole."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from mmwsss.apis.inferencer_files import check_names, write_prediction
from mmwsss.apis.inferencer_inputs import InputImage
from mmwsss.utils.errors import ArtefactError, DataError
from mmwsss.visualization.examples import Painter
from mmwsss.visualization.predictions import Prediction

PAINTER = Painter(('background', 'cat', 'dog'), [(0, 0, 0), (255, 0, 0), (0, 255, 0)])
SEEDS = np.array([[0, 1], [2, 2]], np.uint8)
LABEL = np.array([[0, 255], [255, 2]], np.uint8)
FOUND = Prediction(
    name='folder/a',
    path='/data/folder/a.jpg',
    image=np.full((2, 2, 3), 99, np.uint8),
    tags=('cat', 'dog'),
    tags_given=True,
    scores=dict(cat=0.875, dog=0.25),
    localization=np.eye(2, dtype=np.float32)[None].repeat(2, 0),
    seeds=SEEDS,
    label=LABEL,
    point=(1.0, 0.0),
    affinity=np.eye(2, dtype=np.float32),
)


def files_below(folder):
    files = (path for path in folder.rglob('*') if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in files)


def test_files_of_an_image(tmp_path):
    write_prediction(tmp_path, FOUND, PAINTER)
    assert files_below(tmp_path) == [
        'labels/folder/a.png',
        'scores/folder/a.json',
        'seeds/folder/a.png',
        'vis/folder/a.png',
    ]
    assert json.loads((tmp_path / 'scores/folder/a.json').read_text()) == dict(
        name='folder/a',
        path='/data/folder/a.jpg',
        tags=['cat', 'dog'],
        tags_given=True,
        scores=dict(cat=0.875, dog=0.25),
        point=[1.0, 0.0],
    )
    for name, wanted in (('seeds', SEEDS), ('labels', LABEL)):
        with Image.open(tmp_path / name / 'folder/a.png') as image:
            assert image.mode == 'P'
            np.testing.assert_array_equal(np.array(image), wanted)
    with Image.open(tmp_path / 'vis/folder/a.png') as image:
        assert image.width == 6 * 300


def test_same_bytes_again(tmp_path):
    for name in ('one', 'two'):
        write_prediction(tmp_path / name, FOUND, PAINTER)
    for name in files_below(tmp_path / 'one'):
        first, second = ((tmp_path / n / name).read_bytes() for n in ('one', 'two'))
        assert first == second


def test_each_file_is_whole_or_not_there(tmp_path, monkeypatch):
    """The disk fills up at the second of four files."""
    replace, calls = os.replace, []

    def until_full(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(28, 'No space left on device')
        replace(source, target)

    monkeypatch.setattr('mmwsss.utils.atomic.os.replace', until_full)
    with pytest.raises(ArtefactError, match='the disk is full: free some space'):
        write_prediction(tmp_path, FOUND, PAINTER)
    assert files_below(tmp_path) == ['vis/folder/a.png']
    with Image.open(tmp_path / 'vis/folder/a.png') as image:
        image.load()


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ArtefactError, match='a part of the path is a file'):
        write_prediction(tmp_path / 'file', FOUND, PAINTER)


def test_names_must_differ():
    images = [InputImage('a', '/x/a.jpg'), InputImage('b', '/x/b.jpg')]
    check_names(images)
    with pytest.raises(
        DataError, match=r'/x/b.jpg and /y/b.png would both .* as b: gi'
    ):
        check_names([*images, InputImage('b', '/y/b.png')])
