"""Hold the structure of the code: arrows between parts, sizes, docstrings, tests.

A rule takes a file's path from the repository root and its syntax tree and returns
``(line, complaint)`` pairs. Each rule is also shown a breach, so that it can fail.
"""

import ast
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_POSITIONAL = 8
MIN_DOCUMENTED = 0.98

# part of mmwsss: the other parts it may import
ARROWS = {
    '__init__': {'registry', 'utils', 'version'},
    'version': set(),
    'utils': set(),
    'registry': set(),
    'functional': set(),
    'structures': {'utils'},
    'datasets': {'structures', 'registry', 'utils'},
    'models': {'functional', 'structures', 'registry', 'utils'},
    'refiners': {'functional', 'structures', 'registry', 'utils'},
    'evaluation': {'functional', 'structures', 'registry', 'utils'},
    'visualization': {'functional', 'structures', 'registry', 'utils'},
    'engine': {'registry', 'utils'},
}
ARROWS['apis'] = set(ARROWS) - {'__init__'}

# part of mmwsss: the only foreign packages it may import
FOREIGN = {
    'functional': {'torch'},
    'structures': {'torch', 'numpy', 'mmengine', 'mmseg'},
}

Complaints = list[tuple[int, str]]


def part_of(path: str) -> str:
    """Return the part of mmwsss that ``path`` lies in, '' outside the package."""
    parts = Path(path).with_suffix('').parts
    return parts[1] if parts[0] == 'mmwsss' else ''


def imported_modules(path: str, tree: ast.AST) -> list[tuple[int, str]]:
    """Return (line, absolute module name) of every import, also inside functions."""
    found = []
    package = Path(path).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = '.'.join([*base, *filter(None, [node.module])])
            # "from mmwsss import x" names the part x, not the package
            names = [f'{module}.{alias.name}' for alias in node.names]
            found += [(node.lineno, name) for name in names]
    return found


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


def arrow_between_parts(path: str, tree: ast.Module) -> Complaints:
    part = part_of(path)
    if not part:
        return []
    if part not in ARROWS:
        return [(1, f'mmwsss.{part} has no row in ARROWS')]
    complaints = []
    for line, name in imported_modules(path, tree):
        head, _, rest = name.partition('.')
        target = rest.partition('.')[0]
        # a name that is no part belongs to the package itself, as __version__ does
        inside = head == 'mmwsss' and target in ARROWS and target != part
        if head in {'tools', 'tests'} or (inside and target not in ARROWS[part]):
            complaints.append((line, f'mmwsss.{part} may not import {name}'))
    return complaints


def foreign_import(path: str, tree: ast.Module) -> Complaints:
    allowed = FOREIGN.get(part_of(path))
    if allowed is None:
        return []
    allowed = allowed | {'mmwsss'} | sys.stdlib_module_names
    return [
        (line, f'mmwsss.{part_of(path)} may not import {name}')
        for line, name in imported_modules(path, tree)
        if name.partition('.')[0] not in allowed
    ]


def long_function(path: str, tree: ast.Module) -> Complaints:
    complaints = []
    for node in functions(tree):
        lines = node.end_lineno - node.lineno + 1
        if ast.get_docstring(node) is not None:
            lines -= node.body[0].end_lineno - node.body[0].lineno + 1
        if lines > MAX_FUNCTION_LINES:
            complaints.append((node.lineno, f'{node.name} has {lines} lines'))
    return complaints


def long_file(path: str, tree: ast.Module) -> Complaints:
    # the last statement stands for the file's end: comments after it are none here
    lines = tree.body[-1].end_lineno if tree.body else 0
    return [(lines, f'{lines} lines')] if lines > MAX_FILE_LINES else []


def swallowed_kwargs(path: str, tree: ast.Module) -> Complaints:
    complaints = []
    for node in functions(tree):
        used = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
        if node.args.kwarg and node.args.kwarg.arg not in used:
            text = f'{node.name} takes **{node.args.kwarg.arg} and never uses it'
            complaints.append((node.lineno, text))
    return complaints


def many_positional(path: str, tree: ast.Module) -> Complaints:
    complaints = []
    for node in functions(tree):
        names = [a.arg for a in node.args.posonlyargs + node.args.args]
        count = len([name for name in names if name not in {'self', 'cls'}])
        if count > MAX_POSITIONAL:
            text = f'{node.name} has {count} arguments that are not keyword-only'
            complaints.append((node.lineno, text))
    return complaints


def attribute_of_runner_model(path: str, tree: ast.Module) -> Complaints:
    """``runner.model.x`` breaks under a distributed wrapper: hooks unwrap first."""
    if not path.startswith('mmwsss/engine/hooks/'):
        return []
    return [
        (node.lineno, f'runner.model.{node.attr}: unwrap the model first')
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == 'model'
        and isinstance(node.value.value, ast.Name)
        and node.value.value.id == 'runner'
    ]


def no_doctest(path: str, tree: ast.Module) -> Complaints:
    if part_of(path) != 'functional':
        return []
    return [
        (node.lineno, f'{node.name} has no doctest')
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith('_')
        and '>>>' not in (ast.get_docstring(node) or '')
    ]


RULES = [
    arrow_between_parts,
    foreign_import,
    long_function,
    long_file,
    swallowed_kwargs,
    many_positional,
    attribute_of_runner_model,
    no_doctest,
]


def sources(*folders: str) -> list[tuple[str, ast.Module]]:
    paths = [path for folder in folders for path in (ROOT / folder).rglob('*.py')]
    return [
        (path.relative_to(ROOT).as_posix(), ast.parse(path.read_text('utf-8')))
        for path in sorted(paths)
    ]


@pytest.mark.parametrize('rule', RULES, ids=lambda rule: rule.__name__)
def test_code_keeps_rule(rule):
    complaints = [
        f'{path}:{line}: {text}'
        for path, tree in sources('mmwsss', 'tools', 'tests')
        for line, text in rule(path, tree)
    ]
    assert not complaints, '\n' + '\n'.join(complaints)


def lines_of_code(count: int) -> str:
    return '\n'.join(f'    x = {i}' for i in range(count))


BREACHES = [
    (arrow_between_parts, 'mmwsss/models/a.py', '\nimport mmwsss.apis', 2),
    (arrow_between_parts, 'mmwsss/models/a.py', 'from mmwsss import apis', 1),
    (arrow_between_parts, 'mmwsss/models/b/a.py', 'from ...apis import x', 1),
    (arrow_between_parts, 'mmwsss/engine/a.py', 'from mmwsss.models import x', 1),
    (arrow_between_parts, 'mmwsss/utils/a.py', 'def f():\n import tools.train', 2),
    (arrow_between_parts, 'mmwsss/registry.py', 'import mmwsss.models', 1),
    (arrow_between_parts, 'mmwsss/newpart/a.py', '', 1),
    (foreign_import, 'mmwsss/functional/a.py', 'import numpy as np', 1),
    (foreign_import, 'mmwsss/structures/a.py', 'from timm.x import y', 1),
    (long_function, 'a.py', f'def f():\n{lines_of_code(50)}', 1),
    (long_file, 'a.py', 'x = 1\n' * 401, 401),
    (swallowed_kwargs, 'a.py', 'class A:\n def f(self, **kw):\n  g()', 2),
    (many_positional, 'a.py', 'def f(a, b, c, d, e, f, g, h, i): ...', 1),
    (attribute_of_runner_model, 'mmwsss/engine/hooks/a.py', 'runner.model.x()', 1),
    (no_doctest, 'mmwsss/functional/a.py', 'def f():\n """Do."""', 1),
]


@pytest.mark.parametrize(('rule', 'path', 'source', 'line'), BREACHES)
def test_rule_finds_breach(rule, path, source, line):
    assert [found for found, _ in rule(path, ast.parse(source))] == [line]


DOCUMENTED_LIMIT = f'def f():\n    """A\n    b."""\n{lines_of_code(49)}'


@pytest.mark.parametrize(
    ('path', 'source'),
    [
        ('mmwsss/models/a.py', 'from mmwsss.functional import x\nimport timm'),
        ('mmwsss/models/a.py', 'from mmwsss import __version__'),
        ('mmwsss/models/b/a.py', 'from .c import x\nfrom ...utils import y'),
        ('mmwsss/functional/a.py', 'import math\nfrom torch import Tensor'),
        ('mmwsss/functional/a.py', 'def f():\n """>>> f()"""\ndef _g(): ...'),
        ('mmwsss/engine/hooks/a.py', 'unwrap(runner.model).x()'),
        ('tools/a.py', 'import mmwsss.apis, tools'),
        ('a.py', DOCUMENTED_LIMIT),
        ('a.py', 'x = 1\n' * 400),
        ('a.py', 'def f(self, a, b, c, d, e, f, g, h, *, i, **k): g(**k)'),
    ],
)
def test_rules_accept(path, source):
    tree = ast.parse(source)
    assert [rule.__name__ for rule in RULES if rule(path, tree)] == []


def public_definitions(tree: ast.Module) -> list[ast.AST]:
    """Return the public classes and functions, and the methods of public classes."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = []
    bodies = [tree.body]
    while bodies:
        for node in bodies.pop():
            if isinstance(node, kinds) and not node.name.startswith('_'):
                found.append(node)
                if isinstance(node, ast.ClassDef):
                    bodies.append(node.body)
    return found


def test_public_definitions_are_documented():
    nodes = [
        (f'{path}:{node.lineno}: {node.name}', ast.get_docstring(node))
        for path, tree in sources('mmwsss', 'tools')
        for node in public_definitions(tree)
    ]
    missing = [name for name, docstring in nodes if not docstring]
    share = 1 - len(missing) / len(nodes)
    assert share >= MIN_DOCUMENTED, f'{share:.1%}\n' + '\n'.join(missing)


def test_public_definitions_are_found():
    tree = ast.parse('def a(): ...\ndef _b(): ...\nclass C:\n def d(self): ...')
    assert {node.name for node in public_definitions(tree)} == {'a', 'C', 'd'}


def test_every_functional_file_has_its_test():
    missing = [
        f'{path}:1: no tests/test_functional/test_{Path(path).name}'
        for path, _ in sources('mmwsss/functional')
        if not Path(path).name.startswith('_')
        and not (ROOT / f'tests/test_functional/test_{Path(path).name}').exists()
    ]
    assert not missing, '\n' + '\n'.join(missing)


def test_names_of_test_files_are_unique():
    # without packages pytest cannot tell two modules of one name apart
    paths = sorted((ROOT / 'tests').rglob('test_*.py'))
    counts = Counter(path.name for path in paths)
    twins = [f'{path}:1: name used twice' for path in paths if counts[path.name] > 1]
    packages = [f'{path}:1' for path in (ROOT / 'tests').rglob('__init__.py')]
    assert not twins + packages, '\n'.join(twins + packages)
