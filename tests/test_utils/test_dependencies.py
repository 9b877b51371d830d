from importlib import metadata

import pytest

from mmwsss.utils.dependencies import SUPPORTED, check_versions, installed_version
from mmwsss.utils.errors import DependencyError

TESTED = {'mmengine': '0.10.7', 'mmcv': '2.1.0', 'mmsegmentation': '1.2.2'}
TESTED_ONEDL = {
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmsegmentation': '1.4.2',
}


@pytest.fixture
def pretend(monkeypatch):
    """Make exactly the given distributions look installed."""

    def install(versions):
        def version(name):
            if name not in versions:
                raise metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(metadata, 'version', version)

    return install


@pytest.mark.parametrize('versions', [TESTED, TESTED_ONEDL])
def test_tested_versions_of_both_distributions_pass(pretend, versions):
    pretend(versions)
    check_versions()


@pytest.mark.parametrize(
    ('distribution', 'version', 'import_name'),
    [
        ('onedl-mmengine', '0.10.3', 'mmengine'),
        ('onedl-mmengine', '0.11.0', 'mmengine'),
        ('onedl-mmcv', '1.7.2', 'mmcv'),
        ('onedl-mmcv', '2.4.0', 'mmcv'),
        ('onedl-mmsegmentation', '0.30.0', 'mmseg'),
        ('onedl-mmsegmentation', '1.5.0', 'mmseg'),
    ],
)
def test_mismatch_gives_one_line(pretend, distribution, version, import_name):
    pretend(TESTED_ONEDL | {distribution: version})
    with pytest.raises(DependencyError) as error:
        check_versions()
    message = str(error.value)
    first, stop = SUPPORTED[import_name][1:]
    assert '\n' not in message
    assert f'needs {import_name} >={first},<{stop}, found {version};' in message
    assert 'pip install "mmwsss[onedl]"' in message


@pytest.mark.parametrize('absent', sorted(TESTED))
def test_absent_package_is_named(pretend, absent):
    pretend({name: TESTED[name] for name in TESTED if name != absent})
    with pytest.raises(DependencyError, match='found none; run: pip install'):
        check_versions()


def test_versions_compare_as_versions_not_as_text(pretend):
    # '0.9.9' > '0.10.4' as text
    pretend(TESTED | {'mmengine': '0.9.9'})
    with pytest.raises(DependencyError, match=r'mmengine .* found 0\.9\.9'):
        check_versions()


def test_first_installed_distribution_counts(pretend):
    pretend({'b': '2.0', 'c': '3.0'})
    assert installed_version(('a', 'b', 'c')) == '2.0'
    assert installed_version(('a',)) is None


def test_error_is_an_import_error():
    assert issubclass(DependencyError, ImportError)
