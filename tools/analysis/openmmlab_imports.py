"""Check that the original OpenMMLab distributions have every name that is used here.

python tools/analysis/openmmlab_imports.py FOLDER
FOLDER holds them as wheels, source archives or unpacked; nothing is unpacked, imported
or run:
    pip download --no-deps --no-binary :all: -d FOLDER mmengine==0.10.7 mmcv==2.1.0 \\
        mmsegmentation==1.2.2 mmpretrain==1.2.0
or the same of their wheels. Looks at the imports and the registered types that mmwsss,
tools and configs name.
"""

from __future__ import annotations

import ast
import json
import re
import tarfile
import zipfile
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import torch

from mmwsss.apis.launch import run_tool
from mmwsss.utils.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ('mmengine', 'mmcv', 'mmseg', 'mmpretrain')
OURS = 'mmwsss'
READ = ('mmwsss', 'tools', 'configs')
TYPE = re.compile(r'((?P<scope>[a-z]\w*)\.)?(?P<name>[A-Z]\w*)')
"""A registered type; names of refiners, in small letters, are looked up otherwise."""
WHEEL, SOURCE = '.whl', ('.tar.gz', '.tgz')
STAR = '*'


class Use(NamedTuple):
    """A name that is used.

    Attributes:
        kind: ``import``, ``attribute`` of what may be a module, or ``type``.
        module: Module that it is of, or scope of a type.
        name: The name; '' for the module itself.
        place: File and line.
    """

    kind: str
    module: str
    name: str
    place: str


@dataclass
class Module:
    """What a module defines.

    Attributes:
        names: Names at its top level.
        stars: Modules of which it takes all names.
    """

    names: set[str] = field(default_factory=set)
    stars: list[str] = field(default_factory=list)


@dataclass
class Library:
    """Modules by dotted name, and registered types by package.

    Attributes:
        modules: What each module defines.
        types: Registered types of each package.
    """

    modules: dict[str, Module] = field(default_factory=dict)
    types: dict[str, set[str]] = field(default_factory=dict)

    def add(self, path: str, text: str) -> None:
        """Take in the file of a module, by its path from the package's parent."""
        parts = PurePosixPath(path).with_suffix('').parts
        is_package = parts[-1] == '__init__'
        parts = parts[:-1] if is_package else parts
        tree = ast.parse(text)
        package = parts if is_package else parts[:-1]
        self.modules['.'.join(parts)] = defined_names(tree, package)
        self.types.setdefault(parts[0], set()).update(registered_types(tree))

    def has(self, module: str, name: str, seen: frozenset[str] = frozenset()) -> bool:
        """Tell whether ``from module import name`` finds something."""
        found = self.modules.get(module)
        if found is None or module in seen:
            return False
        if not name or name in found.names or f'{module}.{name}' in self.modules:
            return True
        seen = seen | {module}
        return any(self.has(star, name, seen) for star in found.stars)

    def has_type(self, scope: str, name: str) -> bool:
        """Tell whether a type is registered; without a scope, anywhere or by torch."""
        if scope:
            return name in self.types.get(scope, ())
        return any(name in own for own in self.types.values()) or hasattr(
            torch.optim, name
        )


def defined_names(tree: ast.Module, package: tuple[str, ...]) -> Module:
    """Return what a module defines, within conditions and attempts too."""
    found = Module()
    left: list[ast.AST] = list(tree.body)
    while left:
        node = left.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            names = {alias.asname or alias.name for alias in node.names}
            if STAR in names:
                found.stars.append(absolute(node, package))
            found.names |= names - {STAR}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                found.names.add(alias.asname or alias.name.partition('.')[0])
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.names.add(node.id)
        else:
            left += ast.iter_child_nodes(node)
    return found


def absolute(node: ast.ImportFrom, package: tuple[str, ...]) -> str:
    """Return the module that an import names, by its package where it is relative."""
    base = package[: len(package) - node.level + 1] if node.level else ()
    return '.'.join([*base, *filter(None, [node.module])])


def registered_types(tree: ast.Module) -> Iterator[str]:
    """Yield the types that a module registers, by decorators and by calls."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            calls = [c for c in node.decorator_list if _registers(c)]
            for call in calls:
                yield from _stated(call) or [node.name]
        elif _registers(node):
            yield from _stated(node)


def _registers(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ('register_module', '_register_module')
    )


def _stated(call: ast.AST) -> list[str]:
    """Return the names that a registration states, or that of what it registers."""
    assert isinstance(call, ast.Call)
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    values = [*call.args, *(given[key] for key in ('name', 'module') if key in given)]
    texts = [
        node.value
        for value in values
        for node in ast.walk(value)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    names = [value.id for value in values if isinstance(value, ast.Name)]
    names += [value.attr for value in values if isinstance(value, ast.Attribute)]
    return texts or names


def used_names(path: str, tree: ast.Module) -> Iterator[Use]:
    """Yield imports and attributes of the packages, and the types, that a file uses."""
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        place = f'{path}:{getattr(node, "lineno", 0)}'
        if isinstance(node, ast.ImportFrom) and not node.level and _theirs(node.module):
            for alias in node.names:
                yield Use('import', str(node.module), alias.name, place)
                name = f'{node.module}.{alias.name}'
                aliases[alias.asname or alias.name] = name
        elif isinstance(node, ast.Import):
            for alias in filter(lambda found: _theirs(found.name), node.names):
                aliases[alias.asname or alias.name] = alias.name
                yield Use('import', alias.name, '', place)
        for match in filter(None, map(TYPE.fullmatch, _type_values(node))):
            yield Use('type', match['scope'] or '', match['name'], place)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            module = aliases.get(ast.unparse(node.value))
            if module:
                yield Use('attribute', module, node.attr, f'{path}:{node.lineno}')


def _theirs(module: str | None) -> bool:
    return (module or '').partition('.')[0] in PACKAGES


def _type_values(node: ast.AST) -> list[str]:
    values: list[ast.AST] = []
    if isinstance(node, ast.keyword) and node.arg == 'type':
        values = [node.value]
    elif isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values)
        values = [
            value
            for key, value in pairs
            if isinstance(key, ast.Constant) and key.value == 'type'
        ]
    return [
        value.value
        for value in values
        if isinstance(value, ast.Constant) and isinstance(value.value, str)
    ]


def files_of(place: Path) -> Iterator[tuple[str, str]]:
    """Yield path and text of the Python files of a distribution.

    Raises:
        DataError: if it is no wheel, source archive or folder, or is damaged.
    """
    try:
        if place.is_dir():
            for path in sorted(place.rglob('*.py')):
                yield path.relative_to(place).as_posix(), path.read_text('utf-8')
        elif place.name.endswith(WHEEL):
            with zipfile.ZipFile(place) as wheel:
                for name in sorted(wheel.namelist()):
                    if name.endswith('.py'):
                        yield name, wheel.read(name).decode('utf-8')
        elif place.name.endswith(SOURCE):
            with tarfile.open(place) as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.isfile() else None
                    if file and member.name.endswith('.py'):
                        yield member.name, file.read().decode('utf-8')
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, tarfile.TarError) as e:
        raise DataError(f'{place} cannot be read ({e}); fetch it again') from e


def read_library(folder: Path) -> Library:
    """Read all distributions of a folder.

    Raises:
        DataError: if one cannot be read, or a package is not among them.
    """
    library = Library()
    places = sorted(folder.iterdir()) if folder.is_dir() else []
    for place in places:
        for path, text in files_of(place):
            below = _below_package(path)
            if below:
                library.add(below, text)
    missing = [name for name in PACKAGES if name not in library.modules]
    if missing:
        raise DataError(
            f'{folder} has no distribution with {", ".join(missing)}; fetch it by the '
            "command in this tool's --help"
        )
    return library


def _below_package(path: str) -> str:
    """Return a file's path from its package on, '' if it is in none of them."""
    parts = PurePosixPath(path).parts
    for depth in (0, 1):  # a source archive has a folder of its own around all
        if len(parts) > depth + 1 and parts[depth] in PACKAGES:
            below = parts[depth:]
            return '' if '.mim' in below else '/'.join(below)
    return ''


def read_uses(root: Path, folders: Iterable[str] = READ) -> tuple[list[Use], set[str]]:
    """Return all that is used below a repository's root, and our own types."""
    uses: list[Use] = []
    own: set[str] = set()
    for folder in folders:
        for path in sorted((root / folder).rglob('*.py')):
            tree = ast.parse(path.read_text('utf-8'))
            uses += used_names(path.relative_to(root).as_posix(), tree)
            own.update(registered_types(tree))
    return uses, own


def absent_names(uses: Iterable[Use], own: set[str], library: Library) -> list[Use]:
    """Return the uses of what neither the distributions have nor we register."""
    absent = []
    for use in uses:
        if use.kind == 'import':
            found = library.has(use.module, use.name)
        elif use.kind == 'attribute':
            # what is no module is a class or a function, whose own names these are
            is_module = use.module in library.modules
            found = not is_module or library.has(use.module, use.name)
        elif use.module in ('', OURS) and use.name in own:
            found = True
        else:
            found = library.has_type(use.module, use.name)
        if not found:
            absent.append(use)
    return absent


def main() -> None:
    """Print what was looked for, and fail on what is absent."""
    args = parse_arguments()
    library = read_library(args.folder)
    uses, own = read_uses(ROOT)
    absent = absent_names(uses, own, library)
    counts = {
        package: sum(name.partition('.')[0] == package for name in library.modules)
        for package in PACKAGES
    }
    names = {use[:3] for use in uses}
    print(json.dumps(dict(modules=counts, names=len(names), uses=len(uses))))
    for use in absent:
        print(f'{use.place}: {use.module or "type"} has no {use.name}')
    if absent:
        raise DataError(f'{len(absent)} uses of names that {args.folder} does not have')


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('folder', type=Path, help='folder of the distributions')
    return parser.parse_args()


if __name__ == '__main__':
    run_tool(main)
