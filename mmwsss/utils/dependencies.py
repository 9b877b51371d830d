"""Version limits of the OpenMMLab stack, checked without importing it."""

from importlib import metadata

from packaging.version import Version

from mmwsss.utils.errors import DependencyError

# import name: (distributions that provide it, first version, first refused one)
SUPPORTED = {
    'mmengine': (('mmengine', 'onedl-mmengine'), '0.10.4', '0.11.0'),
    'mmcv': (('mmcv', 'onedl-mmcv'), '2.0.0', '2.4.0'),
    'mmseg': (('mmsegmentation', 'onedl-mmsegmentation'), '1.2.0', '1.5.0'),
}


def installed_version(distributions: tuple[str, ...]) -> str | None:
    """Return the version of the first of ``distributions`` that is installed."""
    for distribution in distributions:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None


def check_versions() -> None:
    """Check mmengine, mmcv and mmseg against the versions known to work.

    Raises:
        DependencyError: if one is absent or outside its range; the message is one
            line with the version found and the command that installs a right one.
    """
    for name, (distributions, first, stop) in SUPPORTED.items():
        found = installed_version(distributions)
        if found is not None and Version(first) <= Version(found) < Version(stop):
            continue
        raise DependencyError(
            f'mmwsss needs {name} >={first},<{stop}, found {found or "none"}; '
            f'run: pip install "mmwsss[onedl]"'
        )
