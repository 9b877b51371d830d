"""Bad configs, options and values in them: one line that helps, no work lost."""

# a case is a row, however long
# ruff: noqa: E501

import pytest
from bad_input_place import (
    cases,
    command,
    nothing,
    pipeline,
    png_of,
    refused,
    resume,
    run,
    seeds,
    train,
)


def appended(text):
    def damage(place):
        content = text if isinstance(text, bytes) else text.encode()
        place.config.write_bytes(place.config.read_bytes() + content)

    return damage


def based(name):
    def damage(place):
        place.config.write_text(place.config.read_text().replace('hybrid_voc.py', name))

    return damage


def chain(text):
    return lambda place: (place.root / 'chain.py').write_text(text)


def resumed(change):
    def damage(place):
        content = place.state()
        change(content)
        place.bad(content)

    return damage


def saliency(content):
    def damage(place):
        (place.root / 'saliency').mkdir()
        for path in (place.voc / 'JPEGImages').iterdir():
            target = place.root / f'saliency/{path.stem}.png'
            target.mkdir() if content is None else target.write_bytes(content)

    return damage


TRAIN = train()
READ = ['tiny.py cannot be read', 'correct it']
BY_SALIENCY = command(
    *(
        'labels',
        '{config}',
        '{checkpoint}',
        '--out',
        '{out}',
        '--label-out',
        '{root}/l',
    ),
    *('--cfg-options', 'refiner.type=saliency', 'refiner.folder={root}/saliency'),
    'refiner.crf=None',
)
CONFIGS = [
    ('no Python', appended('model = dict('), TRAIN, 'Config', [*READ, 'SyntaxError']),
    ('unknown name', appended('\nx = unknown'), TRAIN, 'Config', [*READ, "'unknown' is not defined"]),
    ('division', appended('\nx = 1 / 0'), TRAIN, 'Config', [*READ, 'ZeroDivisionError']),
    ('no such base', based('gone.py'), TRAIN, 'Config', ['gone.py']),
    ('no text', appended(b'\xff\xfe'), TRAIN, 'Config', READ),
    ('zeros', appended(b'\0'), TRAIN, 'Config', READ),
    ('no such import', appended("\ncustom_imports = dict(imports=['gone'])"), TRAIN, 'Config', [*READ, 'gone']),
    ('a program stops', appended("\nraise KeyError('x')"), TRAIN, 'Config', [*READ, 'KeyError']),
    ('nested without end', appended('\nx = ' + '[' * 5000), TRAIN, 'Config', READ),
    ('chain that is no Python', chain('data = ('), pipeline(), 'Config', ['chain.py cannot be read', 'correct it']),
    ('seed below zero', nothing, train('randomness.seed=-1'), 'Config', ['randomness.seed: expected a whole number in [0, 4294967296)', 'got -1']),
    ('seed of 33 bits', nothing, train('randomness.seed=4294967296'), 'Config', ['randomness.seed', 'got 4294967296']),
    ('seed in words', nothing, train('randomness.seed=many'), 'Config', ['randomness.seed', "got 'many'"]),
    ('half a seed', nothing, train('randomness.seed=0.5'), 'Config', ['randomness.seed', 'got 0.5']),
    ('no epoch', nothing, train('train_cfg.max_epochs=0'), 'Config', ['train_cfg.max_epochs: expected a whole number >= 1, got 0']),
    ('epochs in words', nothing, train('train_cfg.max_epochs=ten'), 'Config', ['train_cfg.max_epochs', "got 'ten'"]),
    ('no image a batch', nothing, train('train_dataloader.batch_size=0'), 'Config', ['train_dataloader.batch_size: expected a whole number >= 1, got 0']),
    ('batches in words', nothing, train('train_dataloader.batch_size=big'), 'Config', ['train_dataloader.batch_size', "got 'big'"]),
    ('workers below zero', nothing, train('train_dataloader.num_workers=-1'), 'Config', ['train_dataloader.num_workers: expected a whole number >= 0, got -1']),
    ('learning rate below zero', nothing, train('optim_wrapper.optimizer.lr=-0.1'), 'Config', ['optim_wrapper.optimizer.lr: expected a finite number >= 0, got -0.1']),
    ('learning rate in words', nothing, train('optim_wrapper.optimizer.lr=high'), 'Config', ['optim_wrapper.optimizer.lr', "got 'high'"]),
    ('learning rate without end', nothing, train('optim_wrapper.optimizer.lr=inf'), 'Config', ['optim_wrapper.optimizer.lr', 'inf']),
    ('no class', nothing, seeds('--cfg-options', 'model.num_classes=0'), 'Config', ['model.num_classes: expected a whole number >= 1, got 0']),
    ('resumed from no epoch', resumed(lambda c: c['meta'].pop('epoch')), resume(), 'Checkpoint', ['bad.pth does not tell how far', 'resume from one']),
    ('resumed without meta data', resumed(lambda c: c.pop('meta')), resume(), 'Checkpoint', ['bad.pth does not tell how far']),
    ('resumed from an epoch in words', resumed(lambda c: c['meta'].update(iter='x')), resume(), 'Checkpoint', ['bad.pth does not tell how far']),
    ('resumed without history', resumed(lambda c: c.pop('message_hub')), resume(), 'Checkpoint', ['bad.pth does not tell how far']),
    ('saliency is text', saliency(b'<html>'), BY_SALIENCY, 'Data', ['saliency map cannot be read', 'make it again']),
    ('saliency claims much', saliency(png_of(65535, 65535)), BY_SALIENCY, 'Data', ['saliency map cannot be read', 'claims 65535x65535']),
]  # fmt: skip


@cases(CONFIGS)
def test_configs(place, damage, case, kind, parts):
    damage(place)
    refused(place, case, kind, parts)


@pytest.mark.parametrize('option', ['train_cfg.max_epochs', '=1', 'a b'])
@pytest.mark.parametrize('tool', ['train', 'labels', 'pipeline'])
def test_options_that_are_none(place, tool, option):
    before = place.finished()
    (place.root / 'chain.py').write_text('')
    name, arguments = dict(train=train(), labels=seeds(), pipeline=pipeline())[tool]
    arguments = [
        a
        for a in arguments
        if '=' not in str(a) and a not in ('{named}', '--cfg-options')
    ]
    code, lines = run(place, (name, (*arguments, '--cfg-options', option)))
    assert code == 2 and f'expected key=value, got {option!r}' in lines[-1]
    assert place.finished() == before
