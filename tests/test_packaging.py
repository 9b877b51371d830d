"""What is packed, what it requires, and what importing it loads."""

import ast
import os
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
OPENMMLAB = {'mmengine', 'mmcv', 'mmsegmentation', 'mmpretrain'}
# import name: distribution that brings it, where the two differ
DISTRIBUTION = {'PIL': 'pillow', 'mmseg': 'mmsegmentation', 'cv2': 'mmcv'}
EXTRAS = {'onedl', 'openmmlab', 'crf', 'coco', 'demo', 'dev', 'docs'}


PACKED = ('mmwsss', 'configs', 'tools', 'requirements')
"""Folders that a build reads."""


def build(kind, source, out):
    """Build a wheel or sdist as pip and uv do; return its file."""
    code = f'from setuptools import build_meta; build_meta.build_{kind}({str(out)!r})'
    command = [sys.executable, '-c', code]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope='module')
def sdist(tmp_path_factory):
    """The sdist, unpacked; the working tree is left as it is."""
    source = tmp_path_factory.mktemp('source')
    unwanted = shutil.ignore_patterns('__pycache__')
    for name in PACKED:
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=unwanted)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, source)
    made = build('sdist', source, tmp_path_factory.mktemp('sdist'))
    out = tmp_path_factory.mktemp('unpacked')
    with tarfile.open(made) as archive:
        # Python 3.10 and 3.11 have the argument from a later patch on
        archive.extraction_filter = getattr(tarfile, 'data_filter', None)
        archive.extractall(out)
    (folder,) = out.iterdir()
    return folder


@pytest.fixture(scope='module')
def wheel(sdist, tmp_path_factory):
    """The wheel that is built from the sdist."""
    return build('wheel', sdist, tmp_path_factory.mktemp('wheel'))


@pytest.fixture(scope='module')
def metadata(wheel):
    version = runpy.run_path(str(ROOT / 'mmwsss' / 'version.py'))['__version__']
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f'mmwsss-{version}.dist-info/METADATA').decode()
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
    # imported where they are used, by the extras crf and demo
    optional = {'pydensecrf', 'gradio'}
    unknown = [
        f'{place}: {name} is in no requirement'
        for place, name in imported_packages()
        if DISTRIBUTION.get(name, name) not in known | optional
    ]
    assert not unknown, '\n'.join(unknown)


def test_importing_the_package_is_light():
    heavy = {'mmseg', 'mmpretrain', 'mmcv', 'timm'}
    code = 'import sys, mmwsss.apis; print(*sys.modules)'
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


def files_of(folder, *patterns):
    """Return the names of files below a folder of the repository."""
    return {
        path.relative_to(ROOT / folder).as_posix()
        for pattern in patterns
        for path in (ROOT / folder).rglob(pattern)
    }


def test_wheel_holds_package_configs_and_tools(wheel):
    launchers = {p.name for p in (ROOT / 'tools').glob('*_*.sh')} - {'setup_env.sh'}
    launchers -= {'run_tests.sh'}
    wanted = {
        *(f'mmwsss/{name}' for name in files_of('mmwsss', '*.py', 'py.typed')),
        *(
            f'mmwsss/.mim/configs/{name}'
            for name in files_of('configs', '*.py', '*.yml')
        ),
        *(f'mmwsss/.mim/tools/{name}' for name in files_of('tools', '*.py')),
        *(f'mmwsss/.mim/tools/{name}' for name in launchers),
        'mmwsss/.mim/model-index.yml',
    }
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if '.dist-info/' not in name}
        assert names == wanted
        config = archive.read('mmwsss/.mim/configs/acr/vit_hybrid_voc.py')
    # a file, not the link that stands in the repository
    assert config == (ROOT / 'configs/acr/vit_hybrid_voc.py').read_bytes()


def test_wheel_has_the_command_and_the_licence(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {Path(name).name: name for name in archive.namelist()}
        entries = archive.read(names['entry_points.txt']).decode().split('\n')
        assert archive.read(names['LICENSE']) == (ROOT / 'LICENSE').read_bytes()
    assert entries[:2] == [
        '[console_scripts]',
        'mmwsss = mmwsss.apis.command_line:main',
    ]


def test_sdist_holds_what_a_build_and_a_reader_need(sdist):
    for name in (
        'README.md',
        'LICENSE',
        'CITATION.cff',
        'CHANGELOG.md',
        'pyproject.toml',
    ):
        assert (sdist / name).read_bytes() == (ROOT / name).read_bytes()
    assert {p.name for p in (sdist / 'requirements').iterdir()} == {
        p.name for p in (ROOT / 'requirements').iterdir()
    }
    assert not any(path.is_symlink() for path in sdist.rglob('*'))


USES = """
import mmengine.hub, mmwsss
from mmwsss.apis.command_line import tool_path
from mmwsss.utils.packaged_files import config_path
assert mmwsss.get_config('acr/vit_hybrid_voc').model.num_classes == 20
print(mmwsss.__file__, config_path('cam/embedded'), tool_path('train'), sep='\\n')
"""


def test_unpacked_wheel_uses_its_own_files(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / 'site')
    result = subprocess.run(
        [sys.executable, '-c', USES],
        cwd=tmp_path,
        env=os.environ | {'PYTHONPATH': str(tmp_path / 'site')},
        check=True,
        capture_output=True,
        text=True,
    )
    place = tmp_path.resolve() / 'site/mmwsss'
    assert result.stdout.split() == [
        str(place / '__init__.py'),
        str(place / '.mim/configs/cam/embedded.py'),
        str(place / '.mim/tools/train.py'),
    ]


def test_links_lead_to_configs_and_tools():
    """In a checkout, and so in an editable install."""
    for name in ('configs', 'tools', 'model-index.yml'):
        link = ROOT / 'mmwsss/.mim' / name
        assert link.is_symlink()
        assert link.resolve() == ROOT / name
