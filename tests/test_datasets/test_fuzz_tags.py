"""Tag files on generated examples: what is written is read, or refused in words."""

import json

import pytest
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st

from mmwsss.datasets.coco_instances import read_instances
from mmwsss.datasets.pseudo_label import read_manifest
from mmwsss.datasets.tag_list import read_tag_list, write_tag_list, written_name
from mmwsss.datasets.tag_table import READERS, plain_path, read_tag_table
from mmwsss.datasets.tag_writing import write_tag_table
from mmwsss.datasets.voc import read_voc_list
from mmwsss.utils.errors import ConfigError, DataError, WSSSError

NAMES = st.text(max_size=8)
TRICKY = st.sampled_from(
    ['[]', ' a', 'a b', 'a_b', 'ü', 'u\u0308', '\ufeffa', 'a\u2028b', 'a\x85b', '']
    + ['a;b', 'a,b', '"', "a'b", 'a\tb', 'a\nb', 'a\rb', '\0', '\ud800', '../a', './a']
    + ['a\\b', 'path', 'tags', 'x' * 200]
)
WORDS = st.one_of(TRICKY, NAMES)
TAGS = st.dictionaries(WORDS, st.lists(WORDS, max_size=3), max_size=4)
# what parsers are made for, in any order
PIECES = st.sampled_from(
    ['{', '}', '[', ']', '"', ',', ':', ';', '\n', '\r', '\t', ' ', 'a', 'cat', '[]']
    + [
        'path',
        'tags',
        'images',
        'classes',
        '1',
        '-',
        '1e999',
        'NaN',
        'null',
        '\\u00',
        '\0',
    ]
    + ['"path": "a", "tags": ["cat"]', '\ufeff', '9' * 5000]
)
TEXTS = st.lists(PIECES, max_size=30).map(''.join)
CONTENTS = st.one_of(
    st.binary(max_size=60),
    TEXTS.map(str.encode),
    NAMES.map(lambda text: text.encode('utf-16', 'surrogatepass')),
)


@fuzz()
@given(tags=TAGS, names=st.lists(WORDS, max_size=4, unique=True))
def test_tag_list_there_and_back(tmp_path, tags, names):
    path = tmp_path / 'tags.txt'
    numbers = (
        {i: sorted({len(n) % len(names) for n in own}) for i, own in tags.items()}
        if names
        else dict.fromkeys(tags, [])
    )
    try:
        write_tag_list(path, numbers, names)
    except (DataError, ConfigError):
        used = [names[n] for own in numbers.values() for n in own]
        words = [*numbers, *map(written_name, used)]
        twins = len(set(map(written_name, names))) < len(names)
        broken = [
            w
            for w in words
            if w.split() != [w] or w[0] == '\ufeff' or not w.isprintable()
        ]
        assert twins or broken or '[]' in words
    else:
        assert read_tag_list(path, names) == numbers


@pytest.mark.parametrize('suffix', READERS)
@fuzz()
@given(tags=TAGS)
def test_tag_table_there_and_back(tmp_path, suffix, tags):
    path = tmp_path / f'tags{suffix}'
    classes = sorted({name for own in tags.values() for name in own})
    try:
        write_tag_table(path, tags, classes)
    except DataError:
        return
    if not tags:
        with pytest.raises(DataError, match='has no entry'):
            read_tag_table(str(path))
        return
    found = read_tag_table(str(path))
    as_written = written_name if suffix == '.txt' else str
    assert {entry.path: list(entry.names) for entry in found.entries} == {
        plain_path(key): list(map(as_written, own)) for key, own in tags.items()
    }
    assert found.classes == (tuple(classes) if suffix == '.json' else None)


@pytest.mark.parametrize('suffix', READERS)
@fuzz()
@given(
    tags=st.dictionaries(
        st.text('abcü/ .-_,"', min_size=1, max_size=6),
        st.lists(st.text('abcü_-,"', min_size=1, max_size=4), max_size=3),
        min_size=1,
        max_size=4,
    )
)
def test_ordinary_names_are_not_refused(tmp_path, suffix, tags):
    """The refusals above are no way around the round trip."""
    word = '_' if suffix == '.txt' else ' '
    tags = {
        key.strip().replace(' ', word): own for key, own in tags.items() if key.strip()
    }
    paths = list(map(plain_path, tags))
    if tags and len(set(paths)) == len(paths):
        write_tag_table(tmp_path / f'tags{suffix}', tags, [])
        found = read_tag_table(str(tmp_path / f'tags{suffix}'))
        assert [entry.path for entry in found.entries] == paths
        assert [list(entry.names) for entry in found.entries] == list(tags.values())


def only_words(read, *arguments):
    """Call a reader; anything but a result or one of our errors is a fault."""
    try:
        read(*arguments)
    except WSSSError as error:
        return str(error)
    return None


@pytest.mark.parametrize('suffix', READERS)
@fuzz(40)
@given(content=CONTENTS)
def test_any_bytes_as_a_tag_table(tmp_path, suffix, content):
    path = tmp_path / f'tags{suffix}'
    path.write_bytes(content)
    message = only_words(read_tag_table, str(path))
    assert message is None or str(path) in message


@fuzz()
@given(content=CONTENTS)
def test_any_bytes_as_a_list_or_a_manifest(tmp_path, content):
    path = tmp_path / 'file'
    path.write_bytes(content)
    for read, *more in (
        (read_tag_list, ['cat', 'dog']),
        (read_voc_list,),
        (read_manifest,),
        (read_instances, ['cat']),
    ):
        message = only_words(read, path, *more)
        assert message is None or str(path) in message


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(['a', ''])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ['classes', 'images', 'pixels_per_class', 'path', 'tags', 'a']
                + ['id', 'file_name', 'height', 'width', 'categories', 'annotations']
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@fuzz()
@given(value=JSON)
def test_any_json_of_another_meaning(tmp_path, value):
    for name, read, *more in (
        ('tags.json', lambda path: read_tag_table(str(path))),
        ('labels.json', read_manifest),
        ('instances.json', read_instances, ['a']),
    ):
        path = tmp_path / name
        path.write_text(json.dumps(value))
        message = only_words(read, path, *more)
        assert message is None or str(path) in message


@pytest.mark.parametrize('depth', [2_000, 300_000])
@pytest.mark.parametrize('head', ['', '{"a": ', '{"images": ['])
def test_deep_nesting(tmp_path, depth, head):
    path = tmp_path / 'deep.json'
    path.write_text(head + '[' * depth)
    for read, *more in (
        (lambda path: read_tag_table(str(path)),),
        (read_manifest,),
        (read_instances, ['cat']),
    ):
        assert str(path) in only_words(read, path, *more)
