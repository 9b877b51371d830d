"""Findings of hand-made data sets: each kind where it is, never where it is not."""

import pytest

from mmwsss.apis.dataset_findings import (
    KINDS,
    SEVERITIES,
    Split,
    cooccurrence,
    find_problems,
    size_histogram,
)
from mmwsss.datasets.inspection import ImageFacts

CLASSES = ('cat', 'dog')


def facts_of(*images):
    return {image.path: image for image in images}


def picture(path, digest=None, labels=None, size=(100, 80), problems=()):
    return ImageFacts(path, size, digest or path, labels, tuple(problems))


def train_split(tags, **changes):
    settings = dict(names=('train',), paths=tuple(tags), classes=CLASSES, tags=tags)
    return Split(**{**settings, **changes})


def sound():
    """Twelve images a class and two of both, in training."""
    tags = {f'{i}': [0] for i in range(10)} | {f'd{i}': [1] for i in range(10)}
    tags |= {'b0': [0, 1], 'b1': [0, 1]}
    return tags


def found(splits, facts, **settings):
    return {
        (finding.kind, finding.where): finding.cases
        for finding in find_problems(splits, facts, **settings)
    }


def test_a_sound_data_set():
    tags = sound()
    val = Split(('val', 'test'), ('v',), CLASSES, {'v': [0]}, True)
    facts = facts_of(*map(picture, tags), picture('v', labels={0: 5, 1: 3, 255: 1}))
    assert found([train_split(tags), val], facts, model_classes=2) == {}


def test_files():
    tags = {'a': [0], 'b': [0], 'c': [1]}
    facts = facts_of(
        picture('a', problems=[('missing_mask', 'no a')]),
        ImageFacts('b', problems=(('corrupt_image', 'b is torn'),)),
        picture('c', size=(31, 400)),
    )
    kinds = found([train_split(tags)], facts)
    assert kinds['corrupt_image', 'train'] == ('b is torn',)
    assert kinds['small_image', 'train'] == ('c (31x400)',)
    # masks are no concern of a split that reads none
    assert not any(kind == 'missing_mask' for kind, _ in kinds)
    kinds = found([train_split(tags, masks=True)], facts)
    assert kinds['missing_mask', 'train'] == ('no a',)


def test_balance():
    tags = {f'{i}': [0] for i in range(12)}
    kinds = found([train_split(tags)], facts_of(*map(picture, tags)))
    assert kinds == {
        ('absent_class', 'train'): ('dog',),
        ('constant_class', 'train'): ('cat',),
    }


def test_rare_and_inseparable():
    """dog is on 9 images, 8 of them with cat: below 90%; one more is above."""
    tags = {f'{i}': [0] for i in range(5)} | {f'b{i}': [0, 1] for i in range(8)}
    tags |= {'d': [1]}
    facts = facts_of(*map(picture, tags), picture('e'))
    assert found([train_split(tags)], facts) == {('rare_class', 'train'): ('dog (9)',)}
    tags |= {'d': [0, 1], 'e': [0, 1]}
    assert found([train_split(tags)], facts) == {
        ('inseparable', 'train'): ('cat on 10 of 10 images of dog',),
        ('constant_class', 'train'): ('cat',),
    }


def test_few_images_say_nothing_about_pairs():
    tags = {'a': [0, 1], 'b': [0, 1], 'c': [0]}
    kinds = found([train_split(tags)], facts_of(*map(picture, tags)))
    assert ('inseparable', 'train') not in kinds


def test_copies():
    tags = sound() | {'x': [0], 'y': [0], 'z': [1]}
    same = [picture('x', 'p'), picture('y', 'p'), picture('z', 'q'), picture('d0', 'q')]
    facts = facts_of(*map(picture, tags), *same)
    assert found([train_split(tags)], facts) == {
        ('copies', 'train'): ('d0 = z', 'x = y')
    }
    tags['y'] = [1]
    kinds = found([train_split(tags)], facts)
    assert kinds['copies_disagree', 'train'] == ('x = y',)
    # unreadable images have no digest and are no copies of each other
    torn = {path: ImageFacts(path) for path in tags}
    assert not any('copies' in kind for kind, _ in found([train_split(tags)], torn))


def test_between_splits():
    tags = sound()
    val = Split(('val',), ('0', 'v', 'w'), CLASSES)
    facts = facts_of(*map(picture, tags), picture('v', '1'), picture('w'))
    assert found([train_split(tags), val], facts) == {
        ('leak', 'train and val'): ('v = 1',),
        ('held_out', 'train and val'): ('0',),
    }
    test = Split(('test',), ('0',), CLASSES)  # as the seed protocol has it
    assert found([train_split(tags), test], facts) == {
        ('shared', 'train and test'): ('0',)
    }


def test_tags_against_masks_of_any_split():
    tags = sound()
    test = Split(('test',), ('0', 'd0', 'b0'), CLASSES, {}, True)
    facts = facts_of(
        *map(picture, tags),
        picture('0', labels={0: 9, 1: 2, 2: 1}),
        picture('d0', labels={0: 9, 255: 3}),
        picture('b0', labels={1: 1, 2: 1}),
    )
    kinds = found([train_split(tags), test], facts)
    assert kinds['mask_not_in_tags', 'train'] == ('0: dog',)
    assert kinds['tag_not_in_mask', 'train'] == ('d0: dog',)
    assert {kind for kind, _ in kinds} == {
        'mask_not_in_tags',
        'tag_not_in_mask',
        'shared',
    }


def test_class_lists_and_the_model():
    tags = sound()
    val = Split(('val',), ('v',), ('dog', 'cat'))
    facts = facts_of(*map(picture, tags), picture('v'))
    kinds = found([train_split(tags), val], facts, model_classes=20)
    assert kinds['model_classes', 'train'] == ('the model has 20, train has 2',)
    (case,) = kinds['class_lists', 'val']
    assert case == "train: ('cat', 'dog'); val: ('dog', 'cat')"


def test_errors_come_first():
    tags = {'a': [0], 'b': [0]}
    facts = facts_of(
        picture('a', size=(9, 9)), ImageFacts('b', problems=(('split', ''),))
    )
    severities = [
        SEVERITIES.index(KINDS[finding.kind].severity)
        for finding in find_problems([train_split(tags)], facts)
    ]
    assert severities == sorted(severities)
    assert len(set(severities)) == 2


def test_counts():
    split = train_split({'a': [0], 'b': [0, 1], 'c': []})
    assert split.counts() == [2, 1]
    assert cooccurrence(split) == [[2, 1], [1, 1]]


@pytest.mark.parametrize(
    ('size', 'name'),
    [
        ((127, 3), '0-127'),
        ((3, 128), '128-255'),
        ((2047, 1), '1024-2047'),
        ((2048, 1), '2048 and more'),
    ],
)
def test_size_histogram(size, name):
    counts = size_histogram([picture('a', size=size), ImageFacts('torn')])
    assert {key for key, count in counts.items() if count} == {name}
    assert sum(counts.values()) == 1
