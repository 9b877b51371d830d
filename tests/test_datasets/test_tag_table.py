"""Files of tags: each format by hand, each bad line with its message."""

import json

import numpy as np
import pytest

from mmwsss.datasets.tag_table import (
    folder_table,
    plain_path,
    read_multi_hot,
    read_tag_table,
)
from mmwsss.datasets.tag_writing import write_tag_table
from mmwsss.utils.errors import ArtefactError, DataError

WANTED = {'cats/a 1.jpg': ('cat', 'traffic light'), 'ü.png': (), 'c.jpg': ('dog',)}


def table(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_tag_table(str(path))


def plain(table):
    return {entry.path: entry.names for entry in table.entries}


def refused(tmp_path, name, content):
    with pytest.raises(DataError) as caught:
        table(tmp_path, name, content)
    return str(caught.value).removeprefix(f'{tmp_path}/')


@pytest.mark.parametrize('head', ['', 'path,tags\n', '\ufeffFile, Labels \n'])
@pytest.mark.parametrize('end', ['\n', '\r\n'])
def test_csv(tmp_path, head, end):
    lines = f'{head}cats/a 1.jpg,cat; traffic light\n\nü.png,\n"c.jpg",dog;\n'
    found = table(tmp_path, 't.csv', lines.replace('\n', end).encode())
    assert plain(found) == WANTED
    assert found.classes is None


def test_csv_with_a_comma_in_a_name(tmp_path):
    assert plain(table(tmp_path, 't.csv', '"a, b.jpg",cat\n')) == {'a, b.jpg': ('cat',)}


def test_tsv(tmp_path):
    text = 'cats/a 1.jpg\tcat;traffic light\nü.png\t\nc.jpg\tdog\n'
    assert plain(table(tmp_path, 't.tsv', text)) == WANTED


@pytest.mark.parametrize('stated', [None, ['dog', 'cat', 'traffic light']])
@pytest.mark.parametrize('as_list', [False, True])
def test_json(tmp_path, stated, as_list):
    images = {path: list(names) for path, names in WANTED.items()}
    if as_list:
        images = [dict(path=path, tags=names) for path, names in images.items()]
    content = images if stated is None else dict(classes=stated, images=images)
    found = table(tmp_path, 't.json', json.dumps(content))
    assert plain(found) == WANTED
    assert found.classes == (stated and tuple(stated))


def test_json_lines(tmp_path):
    lines = [json.dumps(dict(path=p, tags=list(n))) for p, n in WANTED.items()]
    assert plain(table(tmp_path, 't.jsonl', '\n\n'.join(lines))) == WANTED


def test_text(tmp_path):
    found = table(tmp_path, 't.txt', 'cats/a cat traffic_light\nb []\nc\n')
    assert plain(found) == {'cats/a': ('cat', 'traffic_light'), 'b': (), 'c': ()}


def test_paths_in_one_form():
    assert plain_path(' ./a\\b.jpg') == 'a/b.jpg'
    assert plain_path('u\u0308.png') == 'ü.png'  # as some file systems write it


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('t.csv', 'a.jpg;cat\n', 't.csv, line 1: expected two columns'),
        ('t.csv', 'a.jpg,cat\nb, c.jpg,cat\n', 't.csv, line 2: expected two columns'),
        ('t.csv', 'a.jpg,"cat\n', 't.csv, line 1: no CSV'),
        ('t.csv', 'a.jpg,cat\n./a.jpg,dog\n', 't.csv, line 2: a.jpg is listed twice'),
        ('t.csv', ' ,cat\n', 't.csv, line 1: no path'),
        ('t.csv', 'ü.jpg,cat\n'.encode('latin-1'), 't.csv is not in UTF-8'),
        ('t.csv', 'a.jpg,cat\n'.encode('utf-16'), 't.csv is not in UTF-8'),
        ('t.csv', '', 't.csv has no entry'),
        ('t.csv', 'path,tags\n', 't.csv has no entry'),
        ('t.csv', 'path,tags,size\n', 't.csv, line 1: expected two columns'),
        ('t.json', '{"a": ["cat"}', 't.json: no JSON'),
        ('t.json', '', 't.json: no JSON'),
        ('t.json', '{}', 't.json has no entry'),
        ('t.json', '[' * 200_000, 't.json: no JSON'),
        ('t.json', '{"a": ["cat"], "a": []}', "t.json: 'a' is listed twice"),
        ('t.json', '{"a": ["cat"], "./a": []}', "t.json, './a': a is listed twice"),
        ('t.json', '[{"tags": ["cat"]}]', 't.json, entry 1: expected {"path"'),
        ('t.json', 'ü'.encode('latin-1'), 't.json is not in UTF-8'),
        ('t.jsonl', '{"path": "a", "tags": [], "path": "b"}', 't.jsonl, line 1: '),
        ('t.jsonl', '["a"]', 't.jsonl, line 1: expected {"path"'),
        ('t.json', '"a"', 't.json: expected an object or a list'),
        ('t.json', '{"a": "cat"}', "t.json, 'a': expected a list of class names"),
        ('t.json', '[{"path": "a"}]', 't.json, entry 1: expected a list of class'),
        ('t.json', '["a"]', 't.json, entry 1: expected {"path"'),
        ('t.json', '{"images": {}, "classes": [1]}', 't.json, classes: expected a'),
        ('t.jsonl', '{"path": "a", "tags": []}\n{', 't.jsonl, line 2: no JSON'),
        ('t.xlsx', '', 't.xlsx: cannot tell its format; expected a name that ends in'),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    assert refused(tmp_path, name, content).startswith(message)


def test_folders_are_classes():
    found = folder_table('photos', ['cat/x.jpg', 'cat/more/y.jpg', 'ant/x.jpg'])
    assert plain(found) == {
        'cat/x.jpg': ('cat',),
        'cat/more/y.jpg': ('cat',),
        'ant/x.jpg': ('ant',),
    }
    assert found.classes == ('ant', 'cat')
    with pytest.raises(DataError, match='photos/x.jpg lies in no class folder'):
        folder_table('photos', ['cat/y.jpg', 'x.jpg'])
    with pytest.raises(DataError, match='photos/ant has no image, so nothing could'):
        folder_table('photos', ['cat/y.jpg'], folders=['ant', 'cat'])


@pytest.mark.parametrize('kind', [bool, np.int64, np.float32])
def test_multi_hot(tmp_path, kind):
    hot = np.array([[1, 0, 1], [0, 0, 0]], kind)
    np.save(tmp_path / 'hot.npy', hot)
    found = read_multi_hot(str(tmp_path / 'hot.npy'), images=2, classes=3)
    assert found.tolist() == [[True, False, True], [False, False, False]]


@pytest.mark.parametrize(
    ('array', 'message'),
    [
        (np.zeros((2, 4)), r'has shape \(2, 4\), expected \(2, 3\)'),
        (np.full((2, 3), 2), 'values other than 0 and 1'),
        (np.full((2, 3), np.nan), 'values other than 0 and 1'),
        (np.array({'a': 1}, object), r'holds no plain array .*CSV or JSON'),
        (np.full((2, 3), 'cat'), r'holds no plain array \(its type is <U3'),
        (np.zeros((2, 3), [('cat', bool)]), r'holds no plain array \(its type is'),
    ],
)
def test_bad_arrays(tmp_path, array, message):
    np.save(tmp_path / 'hot.npy', array, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        read_multi_hot(str(tmp_path / 'hot.npy'), images=2, classes=3)


def test_torn_array(tmp_path):
    np.save(tmp_path / 'hot.npy', np.zeros((2, 3)))
    content = (tmp_path / 'hot.npy').read_bytes()
    # cut short, empty, an archive, and a head that asks for more than any memory
    huge = content.replace(b'(2, 3), ', b'(9999999999999, 9), ').replace(b' ' * 12, b'')
    np.savez(tmp_path / 'hot.npz', np.zeros((2, 3)))
    archive = (tmp_path / 'hot.npz').read_bytes()
    for torn in (content[:-8], content[:20], b'', b'PK', archive, huge):
        (tmp_path / 'hot.npy').write_bytes(torn)
        with pytest.raises(DataError, match='holds no plain array'):
            read_multi_hot(str(tmp_path / 'hot.npy'), images=2, classes=3)


def test_pickled_objects_are_not_run(tmp_path):
    class Bad:
        def __reduce__(self):
            return (tmp_path.joinpath('run').mkdir, ())

    np.save(tmp_path / 'hot.npy', np.array([Bad()], object), allow_pickle=True)
    with pytest.raises(DataError, match='holds no plain array'):
        read_multi_hot(str(tmp_path / 'hot.npy'), images=1, classes=1)
    assert not (tmp_path / 'run').exists()


def test_a_class_that_a_table_cannot_write(tmp_path):
    with pytest.raises(DataError, match=r"class 'a;b' has a ';'.*write \.json"):
        write_tag_table(tmp_path / 't.csv', {'x.jpg': ['a;b']}, ['a;b'])
    write_tag_table(tmp_path / 't.json', {'x.jpg': ['a;b']}, ['a;b'])
    assert plain(read_tag_table(str(tmp_path / 't.json'))) == {'x.jpg': ('a;b',)}


def test_a_table_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').write_text('in the way')
    with pytest.raises(ArtefactError, match='a part of the path is a file'):
        write_tag_table(tmp_path / 'file/t.csv', {'x.jpg': ['a']}, ['a'])
