"""The site of docs/: its navigation, its reference, what turns pages into it.

It is built by ``mkdocs build --strict``, which also checks its links; nothing here
needs the packages that this takes. Metafiles and model index are read here too.
"""

import importlib.util
import re
import sys
import types
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SITE = yaml.safe_load((ROOT / 'mkdocs.yml').read_text('utf-8'))


def nav_pages(entry):
    if isinstance(entry, str):
        return [entry]
    values = entry.values() if isinstance(entry, dict) else entry
    return [page for value in values for page in nav_pages(value)]


def test_every_page_is_in_the_navigation_once():
    named = [page for page in nav_pages(SITE['nav']) if '://' not in page]
    assert len(named) == len(set(named))
    docs = {p.relative_to(ROOT / 'docs').as_posix() for p in ROOT.glob('docs/**/*.md')}
    readmes = {p.relative_to(ROOT).as_posix() for p in ROOT.glob('configs/*/README.md')}
    assert docs | readmes <= set(named)
    lacking = [
        p for p in named if not any((ROOT / d / p).is_file() for d in ('', 'docs'))
    ]
    assert not lacking


def metafiles():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text('utf-8'))
    return [
        (name, yaml.safe_load((ROOT / name).read_text())) for name in index['Import']
    ]


def test_model_index_names_configs_once_and_their_collections():
    configs = []
    for name, content in metafiles():
        folder = Path(name).parent
        collections = {c['Name']: c for c in content['Collections']}
        for collection in collections.values():
            assert (ROOT / collection['README']).is_file()
        for model in content['Models']:
            assert model['In Collection'] in collections
            assert Path(model['Config']).is_relative_to(folder)
            assert (ROOT / model['Config']).is_file(), model['Config']
            configs.append(model['Config'])
    assert configs and len(configs) == len(set(configs))


@pytest.mark.parametrize(
    'folder', ['acr', 'rca', 'cam', 'refinement', 'seam', 'composed']
)
def test_readme_and_metafile_of_a_method_name_all_its_configs(folder):
    readme = (ROOT / f'configs/{folder}/README.md').read_text('utf-8')
    content = yaml.safe_load((ROOT / f'configs/{folder}/metafile.yml').read_text())
    models = {model['Config'] for model in content['Models']}
    for path in (ROOT / 'configs' / folder).rglob('*.py'):
        if path.parent.name == '_base_':
            continue
        name = path.relative_to(ROOT / 'configs' / folder).as_posix()
        assert f']({name})' in readme, name
        assert path.parent.name == 'ablation' or f'configs/{folder}/{name}' in models


def test_reference_covers_every_part_of_the_package():
    text = ''.join(p.read_text('utf-8') for p in ROOT.glob('docs/reference/*.md'))
    parts = set(re.findall(r'^::: mmwsss\.(\w+)', text, re.MULTILINE))
    folders = {p.parent.name for p in ROOT.glob('mmwsss/*/__init__.py')}
    assert folders - parts == set()


def load_extension(name, monkeypatch, **modules):
    """Load a part of the site's building, which needs packages not installed here."""
    for module, content in modules.items():
        monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**content))
    path = ROOT / 'docs/extensions' / f'{name}.py'
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DOCSTRING = """Mark (eq. 1, :math:`a_b`) by :func:`label_map`.

.. math:: P_k = [S_k > 0]

With

    .. math::
        x
        + y

    Args:
        x: ``None``.

    Example:
        >>> 1
"""
MARKDOWN = """Mark (eq. 1, \\(a_b\\)) by `label_map`.

\\[P_k = [S_k > 0]\\]

With

    \\[x + y\\]

    Args:
        x: `None`.

    Examples:
        >>> 1
"""


def test_docstrings_become_markdown(monkeypatch):
    roles = load_extension('roles', monkeypatch, griffe=dict(Extension=object))
    assert roles.to_markdown(DOCSTRING) == MARKDOWN


def test_links_out_of_the_documentation(monkeypatch):
    files = dict(File=object, Files=list)
    hook = load_extension(
        'repository_files',
        monkeypatch,
        **{'mkdocs.structure.files': files, 'mkdocs': {}, 'mkdocs.structure': {}},
    )
    known = {'configs/acr/README.md', 'CHANGELOG.md', 'own_data.md', 'tutorials/a.md'}
    text = (
        '[a](../../CHANGELOG.md#x) [b](../own_data.md) [`c`](../../tools/train.py) '
        '[d](https://x.example) [e](../../configs/acr) `[f](../../tools/train.py)`'
    )
    assert hook.site_links(text, 'tutorials/a.md', known) == (
        '[a](../CHANGELOG.md#x) [b](../own_data.md) `c` '
        '[d](https://x.example) [e](../configs/acr/README.md) '
        '`[f](../../tools/train.py)`'
    )
    text = '[a](../../docs/own_data.md) [b](vit.py)'
    path = 'configs/acr/README.md'
    assert hook.site_links(text, path, known) == '[a](../../own_data.md) b'
