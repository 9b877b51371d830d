"""The distribution's metadata, what it requires, and what importing it loads."""

import ast
import runpy
import subprocess
import sys
from email import message_from_string
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
OPENMMLAB = {'mmengine', 'mmcv', 'mmsegmentation', 'mmpretrain'}
# import name: distribution, where the two differ
DISTRIBUTION = {'PIL': 'pillow', 'mmseg': 'mmsegmentation'}
EXTRAS = {'onedl', 'openmmlab', 'crf', 'coco', 'dev'}


@pytest.fixture(scope='module')
def metadata(tmp_path_factory):
    folder = tmp_path_factory.mktemp('metadata')
    command = [sys.executable, 'setup.py', '-q', 'egg_info', '--egg-base', folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    text = (folder / 'mmwsss.egg-info' / 'PKG-INFO').read_text('utf-8')
    return message_from_string(text)


@pytest.fixture(scope='module')
def required(metadata):
    """Map each extra, '' for none, to {distribution: specifier}."""
    found = {extra: {} for extra in ['', *EXTRAS]}
    for line in metadata.get_all('Requires-Dist'):
        requirement = Requirement(line)
        for extra in found:
            wanted = not requirement.marker if not extra else requirement.marker
            if wanted and (not extra or requirement.marker.evaluate({'extra': extra})):
                found[extra][canonicalize_name(requirement.name)] = (
                    requirement.specifier
                )
    return found


def constraints():
    text = (ROOT / 'requirements' / 'constraints.txt').read_text('utf-8')
    lines = [line for line in text.splitlines() if line and line[0] != '#']
    return [Requirement(line) for line in lines]


def test_extras_and_version(metadata):
    version = runpy.run_path(str(ROOT / 'mmwsss' / 'version.py'))['__version__']
    assert metadata['Version'] == version
    assert set(metadata.get_all('Provides-Extra')) == EXTRAS
    assert metadata['License'] == 'Apache-2.0'


def test_neither_distribution_is_required_unconditionally(required):
    assert 'torch' in required['']
    both = OPENMMLAB | {f'onedl-{name}' for name in OPENMMLAB}
    assert not both & set(required[''])


@pytest.mark.parametrize(('extra', 'prefix'), [('onedl', 'onedl-'), ('openmmlab', '')])
def test_extra_pins_one_whole_distribution(required, extra, prefix):
    other = {'onedl-': '', '': 'onedl-'}[prefix]
    for name in OPENMMLAB:
        assert str(required[extra][prefix + name]).startswith('==')
        assert other + name not in required[extra]


def test_extras_pass_the_version_check(required):
    from mmwsss.utils.dependencies import SUPPORTED

    for distributions, first, stop in SUPPORTED.values():
        for name in distributions:
            extra = 'onedl' if name.startswith('onedl-') else 'openmmlab'
            pin = Version(str(required[extra][name]).removeprefix('=='))
            assert Version(first) <= pin < Version(stop)


def test_requirements_are_bounded_above(required):
    # packaging is versioned by year and keeps what it offers
    open_ended = {
        name
        for name, specifier in required[''].items()
        if not any(part.operator in {'<', '=='} for part in specifier)
    }
    assert open_ended == {'packaging'}


@pytest.mark.parametrize('python', ['3.10', '3.11', '3.12'])
def test_tested_set_meets_requirements(required, python):
    environment = {
        'python_version': python,
        'python_full_version': f'{python}.1',
        'sys_platform': 'linux',
        'platform_machine': 'x86_64',
    }
    tested = {
        canonicalize_name(line.name): str(line.specifier).removeprefix('==')
        for line in constraints()
        if line.marker is None or line.marker.evaluate(environment)
    }
    assert (tested['torch'], tested['torchvision']) == ('2.11.0', '0.26.0')
    for name, specifier in {
        **required[''],
        **required['onedl'],
        **required['dev'],
    }.items():
        assert tested[name] in specifier, f'{name} {tested[name]} is not {specifier}'


def imported_packages():
    for path in sorted((ROOT / 'mmwsss').rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text('utf-8'))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            else:
                names = []
            for name in names:
                yield f'{path.relative_to(ROOT)}:{node.lineno}', name.partition('.')[0]


def test_what_the_package_imports_is_required(required):
    known = {*required[''], *OPENMMLAB, 'mmwsss', *sys.stdlib_module_names}
    optional = {'pydensecrf'}  # imported where it is used, by the extra crf
    unknown = [
        f'{place}: {name} is in no requirement'
        for place, name in imported_packages()
        if DISTRIBUTION.get(name, name) not in known | optional
    ]
    assert not unknown, '\n'.join(unknown)


def test_importing_the_package_is_light():
    heavy = {'mmseg', 'mmpretrain', 'mmcv', 'timm'}
    code = 'import sys, mmwsss; print(*sys.modules)'
    command = [sys.executable, '-c', code]
    result = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert 'mmwsss.registry' in result.stdout.split()
    assert not heavy & set(result.stdout.split())


def test_typing_marker_and_licence_exist():
    assert (ROOT / 'mmwsss' / 'py.typed').exists()
    licence = (ROOT / 'LICENSE').read_text('utf-8')
    assert 'Version 2.0, January 2004' in licence
    assert 'END OF TERMS AND CONDITIONS' in licence


def test_readme_opens_with_the_commands_that_ci_runs():
    screen = (ROOT / 'README.md').read_text('utf-8').splitlines()[:40]
    assert {'bash tools/setup_env.sh', 'bash tools/run_tests.sh'} <= set(screen)
    ci = (ROOT / '.ci' / 'run').read_text('utf-8').splitlines()
    assert ci[-1] == 'bash tools/run_tests.sh'
