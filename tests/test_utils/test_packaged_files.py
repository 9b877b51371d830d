"""Configs by their names, in our way and in mmengine's."""

import runpy

import mmengine.hub
import pytest
import yaml
from mmengine import load
from mmengine.config import Config
from tiny_run import ROOT

import mmwsss
from mmwsss.utils.errors import ConfigError
from mmwsss.utils.packaged_files import (
    CONFIGS,
    TOOLS,
    config_names,
    config_path,
    find_config,
    get_config,
)


@pytest.mark.parametrize(
    'name',
    [
        'acr/vit_hybrid_voc',
        'acr/vit_hybrid_voc.py',
        'configs/acr/vit_hybrid_voc.py',
        'mmwsss::acr/vit_hybrid_voc.py',
    ],
)
def test_config_by_name(name):
    assert config_path(name) == ROOT / 'configs/acr/vit_hybrid_voc.py'
    wanted = Config.fromfile(ROOT / 'configs/acr/vit_hybrid_voc.py')
    assert mmwsss.get_config(name).to_dict() == wanted.to_dict()


def test_names_are_those_of_all_configs_that_run():
    files = {
        path.relative_to(ROOT / 'configs').with_suffix('').as_posix()
        for path in (ROOT / 'configs').rglob('*.py')
    }
    names = config_names()
    assert names == sorted(name for name in files if '_base_/' not in name)
    assert {'cam/embedded', 'acr/ablation/view_none', 'studies/acr_maps'} <= set(names)


def test_files_are_the_repositorys_own():
    assert CONFIGS == ROOT / 'configs'
    assert TOOLS == ROOT / 'tools'


def test_mmengine_finds_configs_too(tmp_path):
    wanted = get_config('acr/vit_hybrid_voc').to_dict()
    assert mmengine.hub.get_config('mmwsss::acr/vit_hybrid_voc.py').to_dict() == wanted
    own = tmp_path / 'own.py'
    own.write_text(
        "_base_ = 'mmwsss::acr/vit_hybrid_voc.py'\nmodel = dict(num_classes=3)\n"
    )
    found = without_scope(Config.fromfile(own).to_dict())
    assert found['model'].pop('num_classes') == 3
    del wanted['model']['num_classes']
    assert found == wanted


def without_scope(node):
    """Leave out where parts come from, which mmengine adds to those of a base."""
    if isinstance(node, dict):
        return {k: without_scope(v) for k, v in node.items() if k != '_scope_'}
    if isinstance(node, (list, tuple)):
        return type(node)(map(without_scope, node))
    return node


def test_file_counts_before_a_name(tmp_path, monkeypatch):
    (tmp_path / 'cam').mkdir()
    (tmp_path / 'cam/embedded').write_text('a = 1')
    monkeypatch.chdir(tmp_path)
    assert str(find_config('cam/embedded')) == 'cam/embedded'
    assert find_config('cam/lite0_voc') == ROOT / 'configs/cam/lite0_voc.py'


@pytest.mark.parametrize(
    ('name', 'offer'),
    [
        ('acr/vit_hybrid_vok', 'such as acr/vit_hybrid_voc'),
        ('voc/vgg16_voc.py', 'such as cam/vgg16_voc, rca/vgg16_voc'),
        ('nothing like it', 'such as acr/vit_hybrid_voc'),
        ('', 'such as acr/vit_hybrid_voc'),
        ('x' * 300, 'such as acr/vit_hybrid_voc'),
        ('acr/\0', 'such as'),
    ],
)
def test_names_that_are_none(name, offer):
    with pytest.raises(ConfigError, match=offer):
        find_config(name)


def test_index_of_models_names_files_that_exist():
    """mmengine reads it and them before it looks a config up."""
    index = load(ROOT / 'mmwsss/.mim/model-index.yml')
    assert all((ROOT / 'mmwsss/.mim' / name).is_file() for name in index['Import'])


def test_citation_names_the_version_and_both_papers():
    version = runpy.run_path(str(ROOT / 'mmwsss/version.py'))['__version__']
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text('utf-8'))
    assert citation['version'] == version
    papers = [
        (p['authors'][0]['family-names'], p['year']) for p in citation['references']
    ]
    assert papers == [('Sun', 2023), ('Zhou', 2022)]


def test_issue_templates_ask_for_something():
    files = sorted((ROOT / '.github/ISSUE_TEMPLATE').glob('*.yml'))
    forms = [yaml.safe_load(p.read_text('utf-8')) for p in files if p.stem != 'config']
    assert len(forms) == 3
    for form in forms:
        assert {'name', 'description', 'body'} <= set(form)
        ids = [part['id'] for part in form['body']]
        assert len(set(ids)) == len(ids)
        assert all(part['attributes']['label'] for part in form['body'])
