"""The check of names on made-up distributions: what it finds, what it misses."""

import importlib.util
import io
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from mmwsss.apis.launch import run_tool

PATH = Path(__file__).parents[2] / 'tools/analysis/openmmlab_imports.py'

FILES = {
    'mmengine/__init__.py': 'from .config import *\nfrom . import fileio\n',
    'mmengine/config/__init__.py': '__all__ = ["Config"]\nfrom .config import Config',
    'mmengine/config/config.py': 'class Config: ...\n',
    'mmengine/fileio/__init__.py': 'try:\n    from x import get\nexcept E:\n    pass\n',
    'mmengine/hooks/__init__.py': '',
    'mmengine/hooks/hook.py': '@HOOKS.register_module()\nclass Hook: ...\n',
    'mmengine/init.py': "@X.register_module(name='Constant')\nclass ConstantInit: 1",
    'mmcv/__init__.py': 'if new:\n    impad, (a, b) = 1, (2, 3)\n',
    'mmcv/bricks.py': "MODELS.register_module('BN', module=nn.BatchNorm2d)\n"
    'MODELS.register_module(module=nn.ReLU)\n',
    'mmseg/__init__.py': '',
    'mmseg/models/__init__.py': 'from .heads import *  # noqa\n',
    'mmseg/models/heads/__init__.py': 'from .. import *\nfrom .fcn import FCN\n',
    'mmpretrain/__init__.py': "raise RuntimeError('run')\n",
}


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('openmmlab_imports', PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules['openmmlab_imports'] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules['openmmlab_imports']


def by_package(package):
    return {n: text for n, text in FILES.items() if n.split('/')[0] == package}


@pytest.fixture
def folder(tmp_path):
    """A wheel, a source archive, a folder, and things that are no distribution."""
    folder = tmp_path / 'distributions'
    folder.mkdir()
    with zipfile.ZipFile(folder / 'mmengine-1.whl', 'w') as wheel:
        for name, text in by_package('mmengine').items():
            wheel.writestr(name, text)
        wheel.writestr('mmengine/.mim/tools/train.py', 'no python at all (')
        wheel.writestr('../outside.py', 'no python at all (')
    with tarfile.open(folder / 'mmcv-1.tar.gz', 'w:gz') as archive:
        for name, text in by_package('mmcv').items():
            entry = tarfile.TarInfo(f'mmcv-1/{name}')
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
        link = tarfile.TarInfo('mmcv-1/mmcv/passwd.py')
        link.type, link.linkname = tarfile.SYMTYPE, '/etc/passwd'
        archive.addfile(link)
    for package in ('mmseg', 'mmpretrain'):
        for name, text in by_package(package).items():
            path = folder / 'rest' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    (folder / 'notes.txt').write_text('text')
    return folder


@pytest.mark.parametrize(
    ('module', 'name', 'is_there'),
    [
        ('mmengine', '', True),
        ('mmengine', 'Config', True),
        ('mmengine', 'config', True),
        ('mmengine', 'hooks', True),
        ('mmengine.hooks.hook', 'Hook', True),
        ('mmengine', 'Hook', False),
        ('mmengine.config', 'ConfigDict', False),
        ('mmengine.fileio', 'get', True),
        ('mmengine.absent', '', False),
        ('mmcv', 'impad', True),
        ('mmcv', 'b', True),
        ('mmcv', 'imfrombytes', False),
        ('mmcv.passwd', '', False),
        ('mmseg.models', 'FCN', True),
        ('mmseg.models', 'ASPP', False),
        ('mmpretrain', '', True),
    ],
)
def test_what_a_module_has(tool, folder, module, name, is_there):
    assert tool.read_library(folder).has(module, name) is is_there


@pytest.mark.parametrize(
    ('scope', 'name', 'is_there'),
    [
        ('mmengine', 'Hook', True),
        ('mmengine', 'Constant', True),
        ('mmengine', 'ConstantInit', False),
        ('mmcv', 'BN', True),
        ('mmcv', 'ReLU', True),
        ('mmseg', 'BN', False),
        ('', 'BN', True),
        ('', 'SGD', True),
        ('', 'Nothing', False),
    ],
)
def test_what_is_registered(tool, folder, scope, name, is_there):
    assert tool.read_library(folder).has_type(scope, name) is is_there


SOURCE = """
import mmcv
import mmengine.config
import os
from mmengine import fileio as io, Config
from mmseg.models import (FCN,
    ASPP)
from .mmseg import nothing
@MODELS.register_module()
class Own: ...
def f():
    from mmpretrain import gone
    return mmcv.impad(mmcv.imread), io.get, io.put, Config.fromfile
x = dict(type='Own'), {'type': 'mmwsss.Own'}, dict(type='mmengine.Hook', a='Gone')
y = dict(type='Gone'), dict(type='mmseg.Hook'), dict(type='pamr'), dict(type=int)
"""


def test_what_is_used_and_absent(tool, folder, tmp_path):
    (tmp_path / 'mmwsss').mkdir()
    (tmp_path / 'mmwsss/a.py').write_text(SOURCE)
    uses, own = tool.read_uses(tmp_path)
    assert own == {'Own'}
    absent = tool.absent_names(uses, own, tool.read_library(folder))
    assert {(use.module, use.name, use.place) for use in absent} == {
        ('mmseg.models', 'ASPP', 'mmwsss/a.py:6'),
        ('mmpretrain', 'gone', 'mmwsss/a.py:12'),
        ('mmcv', 'imread', 'mmwsss/a.py:13'),
        ('mmengine.fileio', 'put', 'mmwsss/a.py:13'),
        ('', 'Gone', 'mmwsss/a.py:15'),
        ('mmseg', 'Hook', 'mmwsss/a.py:15'),
    }


@pytest.fixture
def call(tool, monkeypatch, capsys):
    def call(folder):
        monkeypatch.setattr(sys, 'argv', ['openmmlab_imports', str(folder)])
        with pytest.raises(SystemExit) as stop:
            run_tool(tool.main)
        assert stop.value.code == 1
        return capsys.readouterr()

    return call


def test_of_this_repository(call, folder):
    """The made-up distributions lack what the code uses: it is told where."""
    said = call(folder)
    assert 'mmwsss/utils/checkpoint.py:' in said.out
    assert 'mmengine.runner has no CheckpointLoader' in said.out
    assert said.err.endswith(f'uses of names that {folder} does not have\n')


@pytest.mark.parametrize('place', ['mmengine-1.whl', 'mmcv-1.tar.gz'])
def test_damaged_distributions(call, folder, place):
    (folder / place).write_bytes(b'torn')
    assert f'{folder / place} cannot be read (' in call(folder).err
    (folder / place).unlink()
    assert 'has no distribution with mm' in call(folder).err
    assert 'has no distribution with mmengine, mmcv' in call(folder / 'absent').err
