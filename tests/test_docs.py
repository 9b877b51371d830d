"""What the documentation names exists: links, anchors, commands, options, files.

A rule takes a page's path from the repository root and its text and returns
``(line, complaint)`` pairs. Each rule is also shown a breach, so that it can fail.
"""

import ast
import re
import unicodedata
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r'^ *(```+|~~~+).*?^ *\1 *$', re.MULTILINE | re.DOTALL)
SPAN = re.compile(r'(`+)(?!`)(.+?)(?<!`)\1(?!`)')
LINK = re.compile(r'\[(?:[^][]|\[[^][]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)')
HEADING = re.compile(r'^#+ +(.*?)(?: +#+)? *$', re.MULTILINE)
TOOL = re.compile(r'(?:python|bash)3? +(tools/[\w/]+\.(?:py|sh))([^\n]*)')
OPTION = re.compile(r'(?<!\S)(--[a-z][\w-]*)')
FILE = re.compile(
    r'(?<![\w./-])(?:configs|tests|tools|mmwsss|docs)/[\w./*{},-]*[\w*}/]'
)
BRACES = re.compile(r'\{([^{}]*)\}')


def line_of(text, place):
    return text.count('\n', 0, place) + 1


def blanked(text, pattern):
    """Blank what a pattern matches, keeping the lines."""
    return pattern.sub(lambda found: re.sub(r'[^\n]', ' ', found[0]), text)


def without_code(text):
    return blanked(blanked(text, FENCE), SPAN)


# Both sites that show these pages make anchors of headings; they differ where a
# heading holds dashes, so that a link must agree with both.
def mkdocs_anchor(heading):
    plain = unicodedata.normalize('NFKD', heading).encode('ascii', 'ignore').decode()
    return re.sub(r'[-\s]+', '-', re.sub(r'[^\w\s-]', '', plain).strip().lower())


def github_anchor(heading):
    return re.sub(r'[^\w\- ]', '', heading.strip().lower()).replace(' ', '-')


@cache
def anchors(path):
    text = blanked((ROOT / path).read_text('utf-8'), FENCE)
    headings = [re.sub(r'[`*]', '', heading) for heading in HEADING.findall(text)]
    return {mkdocs_anchor(h) for h in headings} & {github_anchor(h) for h in headings}


def broken_link(path, text):
    complaints = []
    for found in LINK.finditer(without_code(text)):
        target, _, anchor = found[1].partition('#')
        if re.match(r'[a-z]+:', found[1]):
            continue
        place = ((ROOT / path).parent / target).resolve() if target else ROOT / path
        line = line_of(text, found.start())
        if not place.exists():
            complaints.append((line, f'{found[1]}: no such file'))
        elif anchor and anchor not in anchors(place):
            complaints.append((line, f'{found[1]}: no such heading'))
    return complaints


def commands(text):
    """Yield place, tool and the rest of each command that runs a tool."""
    joined = re.sub(r'\\\n', '  ', text)
    for found in TOOL.finditer(joined):
        rest = re.split(r'&&|;|\||`|#', found[2])[0]
        yield found.start(), found[1], rest


def broken_command(path, text):
    complaints = []
    for place, tool, rest in commands(text):
        line = line_of(text, place)
        if not (ROOT / tool).is_file():
            complaints.append((line, f'{tool}: no such tool'))
            continue
        unknown = sorted(set(OPTION.findall(rest)) - options(tool))
        complaints += [(line, f'{tool} has no {option}') for option in unknown]
    return complaints


@cache
def options(tool):
    """Return the options of a tool, those of functions that add arguments included."""
    text = (ROOT / tool).read_text('utf-8')
    if tool.endswith('.py'):
        return python_options(ast.parse(text), Path(tool)) | {'--help'}
    words = set(re.findall(r'(?<![\w-])--[a-z][\w-]*', text))
    passed = re.findall(r'(?:\btools|\$TOOLS)/([\w/]+\.py)', text)
    return words.union(*(options(f'tools/{name}') for name in passed))


def python_options(tree, path):
    found, loops = set(), loops_of(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found |= added_options(node, loops)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= imported_options(node, path)
    return found


def loops_of(tree):
    """Return the strings that each name of a loop over written ones takes."""
    found = {}
    for loop in ast.walk(tree):
        if isinstance(loop, ast.For) and isinstance(loop.iter, ast.Tuple):
            for entry in loop.iter.elts:
                for name, value in zip(parts(loop.target), parts(entry)):
                    taken = found.setdefault(ast.unparse(name), [])
                    taken.append(getattr(value, 'value', ''))
    return found


def parts(node):
    return node.elts if isinstance(node, ast.Tuple) else [node]


def added_options(call, loops):
    if getattr(call.func, 'attr', '') != 'add_argument':
        return set()
    names = {text for a in call.args for text in texts(a, loops)}
    names = {name for name in names if name.startswith('--')}
    switch = any('BooleanOptionalAction' in ast.unparse(k.value) for k in call.keywords)
    return names | {f'--no-{name[2:]}' for name in names if switch}


def texts(node, loops):
    """Return what a string may be; a name in it stands for what its loop takes."""
    if isinstance(node, ast.Constant):
        return [node.value]
    found = ['']
    for part in getattr(node, 'values', []):
        name = isinstance(part, ast.FormattedValue) and ast.unparse(part.value)
        ends = loops.get(name, []) if name else [part.value]
        found = [text + end for text in found for end in ends]
    return found


def imported_options(node, path):
    file = node.module.replace('.', '/') + '.py'
    places = [path.parent / file, Path('tools/benchmarks') / file, Path(file)]
    for place in places:
        if (ROOT / place).is_file():
            wanted = {alias.name for alias in node.names}
            return functions_options((ROOT / place).read_text('utf-8'), wanted)
    return set()


def functions_options(text, names):
    """Return the options that functions add, and those that they call beside them."""
    found = set()
    tree = ast.parse(text) if 'add_argument' in text else ast.Module([], [])
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in names:
            calls = [c for c in ast.walk(node) if isinstance(c, ast.Call)]
            called = {getattr(call.func, 'id', '') for call in calls} - names
            found = found.union(*(added_options(call, {}) for call in calls))
            found |= functions_options(text, called)
    return found


def spellings(name):
    """Return a name with braces, as the shell's, as the names it stands for."""
    found = BRACES.search(name)
    if found is None:
        return [name]
    parts = found[1].split(',')
    whole = (name[: found.start()] + part + name[found.end() :] for part in parts)
    return [spelling for name in whole for spelling in spellings(name)]


def missing_file(path, text):
    complaints = []
    for found in FILE.finditer(blanked(text, LINK)):
        if text[found.end() : found.end() + 1] in ('<', '$'):
            continue  # the rest is for the reader, or the shell, to put in
        for name in spellings(found[0]):
            whole = [*ROOT.glob(name)], [*ROOT.glob(f'{name}.py')]
            if not any(whole) and not made_by_commands(name):
                line = line_of(text, found.start())
                complaints.append((line, f'{name}: no such file'))
    return complaints


def made_by_commands(name):
    """Files that the commands of a page write are not in the repository."""
    return name.startswith(('docs/benchmarks', 'docs/studies/'))


RULES = [broken_link, broken_command, missing_file]


def pages():
    named = ['README.md', 'CONTRIBUTING.md']
    found = [*ROOT.glob('docs/**/*.md'), *ROOT.glob('configs/*/README.md')]
    return [*named, *sorted(path.relative_to(ROOT).as_posix() for path in found)]


@pytest.mark.parametrize('rule', RULES, ids=lambda rule: rule.__name__)
def test_pages_keep_rule(rule):
    complaints = [
        f'{path}:{line}: {text}'
        for path in pages()
        for line, text in rule(path, (ROOT / path).read_text('utf-8'))
    ]
    assert not complaints, '\n' + '\n'.join(complaints)


BREACHES = [
    (broken_link, 'see\n[there](none.md)', 2),
    (broken_link, '![picture](docs/images/none.png "title")', 1),
    (broken_link, '[x](CONTRIBUTING.md#no-such-heading)', 1),
    (broken_link, '[`code` [1]](none.md)', 1),
    (broken_command, 'a\n```bash\npython tools/none.py\n```', 3),
    (broken_command, '`bash tools/none.sh`', 1),
    (broken_command, 'python tools/train.py C \\\n  --resum', 1),
    (broken_command, 'bash tools/dist_train.sh C 2 --metrics x', 1),
    (broken_command, 'python tools/benchmarks/localization.py --type bf16', 1),
    (missing_file, 'of `configs/acr/none.py`', 1),
    (missing_file, '`configs/{acr,none}/ablation`', 1),
    (missing_file, '\n`tests/test_none.py`', 2),
    (missing_file, '`configs/none/*_embedded.py`', 1),
]


@pytest.mark.parametrize(('rule', 'text', 'line'), BREACHES)
def test_rule_finds_breach(rule, text, line):
    assert [found for found, _ in rule('README.md', text)] == [line]


@pytest.mark.parametrize(
    'text',
    [
        '[a](LICENSE) [b](https://none.example/x) [c](#quick-start) `[d](none)`',
        '[a](CONTRIBUTING.md#where-code-goes) ![b](docs/images/quickstart.png)',
        '```\n[a](none.md)\n```',
        'python tools/train.py C --resume --amp --cfg-options a=1 && x --none',
        'bash tools/dist_test.sh C X 4 --metrics f --work-dir=w',
        'python tools/benchmarks/localization.py --dtype bf16 --repeats 3',
        'python tools/analysis/label_miou.py C L --loader test  # --none',
        'bash tools/quickstart.sh --compare --seed 3',
        '`configs/acr`, `configs/{acr,cam}/*_voc.py`, `configs/studies/acr_views`',
        'work_dirs/x/configs/none.py configs/custom/<name>.py',
    ],
)
def test_rules_accept(text):
    assert [rule.__name__ for rule in RULES if rule('README.md', text)] == []


def test_options_that_a_loop_adds_are_found():
    text = """
for name, use in (('tune', 'a'), ('test', 'b')):
    parser.add_argument(f'--{name}', help=use)
    parser.add_argument(f'--{name}-images')
parser.add_argument('-v', '--verbose', action=BooleanOptionalAction)
"""
    assert python_options(ast.parse(text), Path('tools/x.py')) == {
        '--tune',
        '--test',
        '--tune-images',
        '--test-images',
        '--verbose',
        '--no-verbose',
    }


def test_anchors_of_headings():
    assert mkdocs_anchor('Plain `code`, and more') == 'plain-code-and-more'
    assert github_anchor('a - b') == 'a---b' and mkdocs_anchor('a - b') == 'a-b'
    assert 'where-code-goes' in anchors(ROOT / 'CONTRIBUTING.md')
