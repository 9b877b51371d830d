"""Bad stores, labels, configs and arguments: one line that helps, no work lost."""

# a case is a row, however long
# ruff: noqa: E501

import json
import os
import shutil

import numpy as np
import pytest
from bad_input_place import (
    IDS,
    Trap,
    cases,
    command,
    cut,
    nothing,
    pipeline,
    png_of,
    refused,
    run,
    seeds,
    store,
    train,
    trapped_array,
)
from tiny_run import ROOT

# ---------------------------------------------------------------------- stores of seeds


def manifest(**parts):
    def damage(place):
        path = place.out / 'seeds/manifest.json'
        path.write_text(json.dumps(json.loads(path.read_text()) | parts))

    return damage


def index(content):
    def damage(place):
        (place.out / 'seeds/index.json').write_text(content)

    return damage


def strange(make):
    """Return a damage that puts something in the place of a record."""

    def damage(place):
        place.seed().unlink()
        make(place.seed())

    return damage


def other_record(place):
    shutil.copy(place.seed(0), place.seed(1))


def other_tags(place):
    path = place.list('train_tags')
    path.write_text(path.read_text().replace('cat', 'dog'))


def maps(value):
    def damage(place):
        (place.root / 'npy').mkdir()
        value = made(place) if callable(made) else made
        np.save(place.root / 'npy/a.npy', value, allow_pickle=True)

    made = value
    return damage


def trap_of_maps(place):
    (place.root / 'npy').mkdir()
    trapped_array(place.root / 'npy/a.npy', Trap(place.sprung))


def no_maps(place):
    (place.root / 'npy').mkdir()


VERIFY = store('verify', '{out}/seeds')
IMPORT = store('import', '{root}/npy', '{root}/new')
RECORD = f'seeds/{IDS[1]}.seed'
AGAIN = 'run the command that writes it again'
SEEDS = [
    ('no store', nothing, store('info', '{root}'), 'Artefact', ['{root}/manifest.json is missing']),
    ('manifest cut', lambda p: (p.out / 'seeds/manifest.json').write_text('{'), VERIFY, 'Artefact', ['manifest.json is no JSON', 'choose another folder']),
    ('manifest nested deeply', lambda p: (p.out / 'seeds/manifest.json').write_text('[' * 200_000), seeds(), 'Artefact', ['manifest.json is no JSON', 'nested too deeply']),
    ('manifest of labels', manifest(kind='pseudo labels'), seeds(), 'Artefact', ['manifest.json is of pseudo labels', 'expected seeds']),
    ('manifest of later times', manifest(version=99), VERIFY, 'Artefact', ['version 99', 'expected seeds (version 1)']),
    ('manifest names numbers', manifest(identity=dict(config=5)), VERIFY, 'Artefact', ['names no identity']),
    ('index leads out', index('{"../../sprung": ""}'), VERIFY, 'Artefact', ["'../../sprung' is no name for an artefact"]),
    ('index is absolute', index('{"/etc/passwd": ""}'), VERIFY, 'Artefact', ["'/etc/passwd' is no name for an artefact"]),
    ('index of another record', index(json.dumps({IDS[0]: '00'})), VERIFY, 'Artefact', [IDS[0], 'has changed', AGAIN]),
    ('record cut', cut('seed', 100), VERIFY, 'Artefact', [RECORD, 'is damaged (cut short', AGAIN]),
    ('record of another image', other_record, VERIFY, 'Artefact', [RECORD, 'is damaged', AGAIN]),
    ('record is a link', strange(lambda path: path.symlink_to('/etc/passwd')), VERIFY, 'Artefact', [RECORD, 'is a link']),
    ('record is a device', strange(lambda path: path.symlink_to('/dev/zero')), VERIFY, 'Artefact', [RECORD, 'is a link, a pipe or a device']),
    ('record is a pipe', strange(os.mkfifo), VERIFY, 'Artefact', [RECORD, 'is a link, a pipe or a device']),
    ('record with holes', lambda p: os.truncate(p.seed(), 1 << 40), VERIFY, 'Artefact', [RECORD, 'claims', 'remove it']),
    ('seeds of other tags', other_tags, seeds(), 'Artefact', ['{out}/seeds holds seeds of another tags', 'choose another folder']),
    ('code among dictionaries', trap_of_maps, IMPORT, 'Data', ['npy/a.npy', 'no array']),
    ('no dictionary', no_maps, IMPORT, 'Data', ['{root}/npy has no .npy file']),
    ('maps beyond 1', maps({0: np.full((2, 2), 7.0)}), IMPORT, 'Data', ['npy/a.npy cannot be stored', 'values in [0, 1]']),
    ('maps are no numbers', maps({0: np.full((2, 2), np.nan)}), IMPORT, 'Data', ['npy/a.npy cannot be stored', 'values in [0, 1]']),
    ('maps by name', maps({'cat': np.ones((2, 2))}), IMPORT, 'Data', ["'cat' is no class index"]),
]  # fmt: skip


@cases(SEEDS)
def test_stores_of_seeds(place, damage, case, kind, parts):
    damage(place)
    refused(place, case, kind, parts)


# ------------------------------------------------------------------------------ labels

LABELLED = """
_base_ = './tiny.py'
names = {classes!r}
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='VOCPseudoLabelDataset',
        label_root={labels!r},
        data_root={data!r},
        ann_file='ImageSets/Segmentation/train.txt',
        tag_file='ImageSets/Segmentation/train_tags.txt',
        data_prefix=dict(img_path='JPEGImages'),
        allow_absent={classes!r},
        pipeline=[
            dict(type='CountedRandomness'),
            dict(type='LoadImage'),
            dict(type='LoadMask'),
            dict(type='PackWSSSInputs'),
        ],
    )
)
"""


@pytest.fixture
def labelled(place):
    """The place with a config that trains on its labels."""
    manifest = json.loads((place.out / 'labels.json').read_text())
    text = LABELLED.format(
        classes=manifest['classes'], labels=str(place.out), data=str(place.voc)
    )
    (place.root / 'labelled.py').write_text(text)
    return place


def labels_json(change):
    """Return a damage that changes the manifest of the labels."""

    def damage(place):
        path = place.out / 'labels.json'
        content = json.loads(path.read_text())
        content.update(change(content))
        path.write_text(json.dumps(content))

    return damage


def labels_text(text):
    return lambda place: (place.out / 'labels.json').write_text(text)


def counts(value):
    return labels_json(
        lambda m: dict(pixels_per_class=dict.fromkeys(m['classes'], value))
    )


FROM_LABELS = command(
    *('train', '{root}/labelled.py', '--work-dir', '{root}/work'),
    *('--cfg-options', '{named}', 'train_cfg.max_epochs=1'),
)
MAKE = 'make the labels with tools/generate_pseudo_labels.py'
LABEL = f'labels/{IDS[1]}.png'
LABELS = [
    ('no manifest', lambda p: (p.out / 'labels.json').unlink(), 'Data', ['no manifest', MAKE]),
    ('manifest is no JSON', labels_text('{'), 'Data', ['labels.json cannot be read', MAKE]),
    ('manifest nested deeply', labels_text('[' * 200_000), 'Data', ['labels.json cannot be read (nested too deeply)', MAKE]),
    ('manifest is a list', labels_text('[]'), 'Data', ["no usable entry 'classes'", MAKE]),
    ('classes are numbers', labels_json(lambda m: dict(classes=[1, [2]])), 'Data', ["no usable entry 'classes'", MAKE]),
    ('other classes', labels_json(lambda m: dict(classes=['background', 'x'], pixels_per_class=dict(background=1, x=1))), 'Data', ['labels.json is of the classes', MAKE]),
    ('counts are texts', counts('many'), 'Data', ["no usable entry 'pixels_per_class'", MAKE]),
    ('counts are negative', counts(-1), 'Data', ["no usable entry 'pixels_per_class'", MAKE]),
    ('background alone', counts(0), 'Data', ['no pixel is labelled as an object', 'background threshold']),
    ('images elsewhere', labels_json(lambda m: dict(images={'../../x': ''})), 'Data', ['lists images without a label', MAKE]),
    ('a label is gone', lambda p: p.label().unlink(), 'Data', ['mask not found', LABEL]),
    ('a label is cut', cut('label', 60), 'Data', ['cannot be read', LABEL]),
    ('a label claims much', lambda p: p.label().write_bytes(png_of(65535, 65535)), 'Data', [LABEL, 'claims 65535x65535']),
    ('a label of another size', lambda p: p.label().write_bytes(p.label(0).read_bytes()), 'Data', [LABEL, 'must have the same size']),
]  # fmt: skip


@pytest.mark.parametrize(
    ('damage', 'kind', 'parts'), [pytest.param(*row[1:], id=row[0]) for row in LABELS]
)
def test_labels(labelled, damage, kind, parts):
    damage(labelled)
    refused(labelled, FROM_LABELS, kind, parts)


def test_sound_labels_are_taken(labelled):
    """The cases before fail for their damage: here the data set is found usable."""
    code, lines = run(labelled, FROM_LABELS)
    assert not [line for line in lines if line.startswith('DataError')], lines


# --------------------------------------------------- settings, arguments, random seeds


def chain(text):
    return lambda place: (place.root / 'chain.py').write_text(text)


CHAIN = """
data = dict(synthetic=dict(seed=0, train=2, val=1, test=1))
classifier = dict(config='ROOT/configs/acr/hybrid_embedded.py')
labels = dict(refiner='threshold')
segmentor = dict(config='ROOT/configs/segmentation/deeplabv2_embedded.py')
""".replace('ROOT', str(ROOT))


def synthetic(*arguments):
    return command('synthetic', '{root}/made', *arguments)


ASKED = [
    ('mistyped setting', nothing, seeds('--cfg-options', 'model.vieww=1'), 'Config', ['vieww']),
    ('mistyped type', nothing, train('model.type=ARC'), 'Config', ['ARC', 'registry']),
    ('other class count', nothing, seeds('--cfg-options', 'model.num_classes=7'), 'Config', ['7 classes, the data set 20', 'set model.num_classes']),
    ('no such refiner', nothing, seeds('--refiner', 'crf'), 'Config', ["no refiner 'crf'", 'known are']),
    ('no such threshold', nothing, seeds('--background-threshold', '2'), 'Config', ['expected 0 <= back']),
    ('no such rule', nothing, seeds('--background-threshold', 'best'), 'Config', ["got 'best'", 'gt_free']),
    ('masks that are not read', nothing, seeds('--masks', 'x'), 'Config', ['--masks x would not be read']),
    ('masks that are not there', nothing, seeds('--masks', 'x', '--background-threshold', 'searched'), 'Data', ['VOC2012/x']),
    ('no job', nothing, seeds('--jobs', '0', '--label-out', '{root}/l'), 'Config', ['jobs: expected >= 1, got 0']),
    ('no accumulated maps', nothing, seeds('--accumulated', '{root}'), 'Artefact', ['holds no accumulated maps', 'MapAccumulationHook']),
    ('masks for seeds', nothing, seeds('--cfg-options', 'seed_dataloader.dataset.data_prefix.seg_map_path=x'), 'Config', ['take seg_map_path off']),
    ('data that are not there', nothing, seeds('--cfg-options', 'seed_dataloader.dataset.data_root=x'), 'Data', ['x does not exist', 'set dataset.data_root']),
    ('no such config', nothing, command('test', '{root}/x.py', '{checkpoint}'), 'Config', ['no config {root}/x.py']),
    ('folder for a config', nothing, command('test', '{root}', '{checkpoint}'), 'Config', ['no config {root}']),
    ('work below a file', nothing, command('train', '{config}', '--work-dir', '{config}/x'), 'Config', ['tiny.py/x cannot be written', '--work-dir']),
    ('published below a file', nothing, command('publish', '{checkpoint}', '{config}/x.pth'), 'Artefact', ['tiny.py/x', 'a part of the path is a file']),
    ('tags of no list', nothing, command('tags', '{voc}', '--split', 'x'), 'Data', ['x.txt']),
    ('data made below a file', nothing, command('synthetic', '{config}/x'), 'Artefact', ['a part of the path is a file']),
    ('seed below zero', nothing, synthetic('--seed', '-1'), 'Config', ['seed: expected at least 0, got -1']),
    ('no image', nothing, synthetic('--train', '0'), 'Config', ['train: expected at least 1, got 0']),
    ('images of no size', nothing, synthetic('--size', '3'), 'Config', ['size: expected at least 32, got 3']),
    ('chain without parts', chain('data = dict(root="x")'), pipeline(), 'Config', ['config lacks classifier, segmentor']),
    ('chain with a part too many', chain(CHAIN + 'lables = dict()'), pipeline(), 'Config', ['no setting lables', 'it has']),
    ('chain from nowhere', chain(CHAIN), pipeline('--from', 'seed'), 'Config', ["no stage 'seed'", 'stages are']),
    ('chain of a bad seed', chain(CHAIN), pipeline('--cfg-options', 'data.synthetic.sede=1'), 'Config', ['no setting sede', 'seed']),
    ('chain that ends before it begins', chain(CHAIN), pipeline('--from', 'test', '--until', 'data'), 'Config', ['--from test is behind --until data']),
]  # fmt: skip


@cases(ASKED)
def test_settings_and_arguments(place, damage, case, kind, parts):
    damage(place)
    refused(place, case, kind, parts)


MISUSED = [
    ('no checkpoint', command('test', '{config}'), 'checkpoint'),
    ('no folder', command('labels', '{config}', '{checkpoint}'), '--out'),
    ('jobs in words', seeds('--jobs', 'many'), '--jobs'),
    ('half of the way', seeds('--only', 'labels'), '--only'),
    ('steps in words', command('train', '{config}', '--profile', 'x'), '--profile'),
    ('launcher', command('train', '{config}', '--launcher', 'mine'), '--launcher'),
    ('option', command('train', '{config}', '--sead', '1'), '--sead'),
    ('seed in words', synthetic('--seed', 'x'), '--seed'),
    ('action', store('mend', 'x'), 'mend'),
]


@pytest.mark.parametrize(
    ('case', 'name'), [pytest.param(*row[1:], id=row[0]) for row in MISUSED]
)
def test_command_lines(place, case, name):
    before = place.finished()
    code, lines = run(place, case)
    assert code == 2 and lines[0].startswith('usage: ')
    assert 'error: ' in lines[-1] and name in lines[-1]
    assert place.finished() == before
