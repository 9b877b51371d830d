"""Streamed JSON: elements and places as json.load has them, whatever the chunk."""

import json

import pytest

from mmwsss.utils import json_stream
from mmwsss.utils.errors import DataError
from mmwsss.utils.json_stream import stream_elements

VALUE = dict(
    info=dict(year=2014, text='a [b] {c} "d" \\ ü'),
    version=1,
    images=[
        dict(id=i, name=f'ü {i}.jpg', empty=[], nested=[[1.5, -2e3]]) for i in 'ab'
    ],
    nothing=[],
    numbers=[1, 23, 456, -7.25, 1e5, True, None, 'x,]}'],
    last=12345,
)


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / 'value.json'
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize('chunk', [1, 2, 3, 7, 64, 1 << 20])
@pytest.mark.parametrize('indent', [None, 1])
@pytest.mark.parametrize('ascii_only', [True, False])
def test_elements_are_those_of_json(write, monkeypatch, chunk, indent, ascii_only):
    monkeypatch.setattr(json_stream, 'CHUNK', chunk)
    path = write(json.dumps(VALUE, indent=indent, ensure_ascii=ascii_only))
    content, found = path.read_bytes(), {}
    for element in stream_elements(path):
        own = content[element.start : element.start + len(element.content)]
        assert element.content == own
        found.setdefault(element.key, []).append(json.loads(own))
        if ascii_only:
            assert element.value == json.loads(own)
    assert found == {key: VALUE[key] for key in ('images', 'numbers')}


def test_no_array(write):
    assert list(stream_elements(write(' { } '))) == []
    assert list(stream_elements(write('{"a": {"b": [1]}}'))) == []


def test_window_stays_small(write, monkeypatch):
    monkeypatch.setattr(json_stream, 'CHUNK', 100)
    longest = 0
    more = json_stream._Text._more

    def note(self):
        nonlocal longest
        result = more(self)
        longest = max(longest, len(self.window))
        return result

    monkeypatch.setattr(json_stream._Text, '_more', note)
    path = write(json.dumps(dict(a=[dict(number=i) for i in range(2000)])))
    assert len(list(stream_elements(path))) == 2000
    assert longest <= 200


@pytest.mark.parametrize(
    ('content', 'at', 'reason'),
    [
        ('', 0, "expected '{'"),
        ('[1]', 0, "expected '{'"),
        ('{"a" 1}', 5, "expected ':'"),
        ('{"a": [1 2]}', 9, "expected ']'"),
        ('{"a": [1, {"b": 2}', 18, "expected ']'"),
        ('{"a": [1, {"b": 2', 10, 'delimiter'),
        ('{"a": [1,]}', 9, 'Expecting value'),
        ('{"a": 1', 7, "expected '}'"),
        ('{a: 1}', 1, 'Expecting value'),
        (b'\x1f\x8b\x08\x00', 0, "expected '{'"),
    ],
)
def test_broken_files_name_the_place(write, content, at, reason):
    path = write(content)
    with pytest.raises(DataError) as caught:
        list(stream_elements(path))
    assert str(caught.value).startswith(f'{path} is no JSON object at byte {at} (')
    assert reason in str(caught.value)
    assert str(caught.value).endswith('get or unpack the file again')


def test_a_break_is_told_before_the_whole_file_is_read(write, monkeypatch):
    monkeypatch.setattr(json_stream, 'CHUNK', 100)
    monkeypatch.setattr(json_stream, 'MAX_ELEMENT', 1000)
    path = write('{"a": [{"b": nan}, ' + '1, ' * 100_000 + '1]}')
    with pytest.raises(DataError, match=r'at byte 7 \(Expecting value'):
        list(stream_elements(path))


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r'cannot read .*absent\.json: No such file'):
        list(stream_elements(tmp_path / 'absent.json'))
