import os

import pytest

from mmwsss.datasets.tag_list import (
    foreground_classes,
    read_tag_list,
    some_names,
    write_tag_list,
)
from mmwsss.utils.errors import ArtefactError, ConfigError, DataError

CLASSES = ('cat', 'dog', 'traffic light')


def write(path, text):
    path.write_text(text)
    return path


def test_tags_are_ascending_indices_without_repeats(tmp_path):
    path = write(tmp_path / 'tags.txt', 'b dog cat dog\n\na traffic_light\n')
    assert read_tag_list(path, CLASSES) == {'b': [0, 1], 'a': [2]}


@pytest.mark.parametrize('line', ['a', 'a []'])
def test_image_without_tags(tmp_path, line):
    assert read_tag_list(write(tmp_path / 't', line), CLASSES) == {'a': []}


def test_unused_classes_are_left_out(tmp_path):
    path = write(tmp_path / 't', 'a dog sofa\nb sofa\n')
    assert read_tag_list(path, CLASSES, unused_classes=['sofa']) == {'a': [1], 'b': []}


def test_written_list_reads_back(tmp_path):
    path = tmp_path / 'lists' / 'tags.txt'
    tags = {'x/1': [0, 2], 'x/0': []}
    write_tag_list(path, tags, CLASSES)
    assert path.read_text() == 'x/1 cat traffic_light\nx/0 []\n'
    assert read_tag_list(path, CLASSES) == tags
    assert os.listdir(path.parent) == ['tags.txt']


def test_failed_write_leaves_the_old_list(tmp_path, monkeypatch):
    path = write(tmp_path / 't', 'a cat\n')

    def fail(*_):
        raise OSError('disk full')

    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(ArtefactError, match=f'cannot write {path}: disk full'):
        write_tag_list(path, {'a': [1]}, CLASSES)
    assert path.read_text() == 'a cat\n'
    assert os.listdir(tmp_path) == ['t']


def test_unknown_class_names_file_line_and_closest(tmp_path):
    path = write(tmp_path / 'tags.txt', 'a cat\nb Dogs\n')
    with pytest.raises(DataError) as caught:
        read_tag_list(path, CLASSES)
    message = str(caught.value)
    assert f'{path}, line 2' in message
    assert "'Dogs'" in message
    assert 'closest known names are dog' in message
    assert 'traffic' not in message


def test_class_like_no_other_names_all(tmp_path):
    path = write(tmp_path / 'tags.txt', 'a zzzz\n')
    with pytest.raises(DataError, match='known names are cat, dog, traffic_light'):
        read_tag_list(path, CLASSES)


def test_image_twice(tmp_path):
    path = write(tmp_path / 'tags.txt', 'a cat\nb dog\na dog\n')
    with pytest.raises(DataError, match='line 3: a is listed twice'):
        read_tag_list(path, CLASSES)


def test_list_in_another_encoding(tmp_path):
    path = tmp_path / 'tags.txt'
    path.write_bytes('\ufeffü cat\n'.encode())
    assert read_tag_list(path, CLASSES) == {'ü': [0]}
    path.write_bytes('ü cat\n'.encode('latin-1'))
    with pytest.raises(DataError, match=r'tags.txt is not in UTF-8 .*save it as UTF-8'):
        read_tag_list(path, CLASSES)


def test_missing_list(tmp_path):
    with pytest.raises(DataError, match='tag list not found: .*none.txt'):
        read_tag_list(tmp_path / 'none.txt', CLASSES)


def test_foreground_classes():
    assert foreground_classes(dict(classes=('background', 'a', 'b'))) == ('a', 'b')


@pytest.mark.parametrize('classes', [None, ('background',), ('cat', 'dog')])
def test_classes_must_start_with_background(classes):
    with pytest.raises(ConfigError, match="start with 'background'"):
        foreground_classes(dict(classes=classes))


def test_some_names():
    assert some_names(['a', 'b', 'c']) == 'a, b, c'
    assert some_names(list('abcde')) == 'a, b, c and 2 more'
