"""Files of figures: the same each time, whole, with what they show beside them."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from mmwsss.utils.errors import ArtefactError, ConfigError
from mmwsss.visualization.panels import figure_bytes, panels, show, write_figure


def figure():
    made, grid = panels(1, 2)
    show(grid[0][0], np.arange(4).reshape(2, 2), '')
    return made


@pytest.mark.parametrize('suffix', ['.png', '.pdf'])
def test_same_figure_is_the_same_file(suffix):
    content = figure_bytes(figure(), suffix)
    assert figure_bytes(figure(), suffix) == content
    assert content.startswith({'.png': b'\x89PNG', '.pdf': b'%PDF'}[suffix])


def test_resolution_and_palette_of_a_png():
    def image(**settings):
        return Image.open(io.BytesIO(figure_bytes(figure(), '.png', **settings)))

    assert image().size == (350, 200)
    assert image(dpi=50).size == (175, 100)
    assert image(colours=8).mode == 'P'
    assert len(image(colours=8).getcolors()) <= 8


def test_record_lies_beside(tmp_path):
    path = tmp_path / 'new' / 'a.png'
    written = write_figure(figure(), path, dict(rows=['ü', 1]))
    assert written == [path, tmp_path / 'new/a.png.json']
    assert path.read_bytes() == figure_bytes(figure(), '.png')
    assert json.loads(written[1].read_text('utf-8')) == dict(rows=['ü', 1])


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(ConfigError, match=r'a.gif: a figure ends in .png, .pdf, got'):
        write_figure(figure(), tmp_path / 'a.gif', {})
    (tmp_path / 'file').touch()
    with pytest.raises(ArtefactError, match='cannot write .*file/a.png: a part of'):
        write_figure(figure(), tmp_path / 'file' / 'a.png', {})
    assert [p.name for p in tmp_path.iterdir()] == ['file']
