"""The walk of docs/own_data.md: its commands on a folder of odd images, as printed.

They run one after another in this process, in a folder with the repository's tools and
a copy of its configs, in which the three lines of the page stand. ``QUICK`` is added
behind ``--cfg-options``: fewer iterations, smaller batches, no official weights, no
worker processes; nothing of what the page promises depends on these.
"""

import ast
import copy
import csv
import hashlib
import json
import re
import runpy
import shlex
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image
from tiny_run import ROOT, without_slow_logging

from mmwsss.datasets import ImageTagDataset

PAGE = (ROOT / 'docs/own_data.md').read_text()
CUSTOM = Path('configs/_base_/datasets/custom.py')
IN_PROCESS = [
    f'{name}_dataloader.{setting}'
    for name in ('train', 'val', 'test')
    for setting in ('num_workers=0', 'persistent_workers=False')
]
CLASSIFIER = [*IN_PROCESS, 'seed_dataloader.num_workers=0']
SEGMENTOR = [x for x in IN_PROCESS if not x.startswith('val')]
UNTRAINED = 'model.backbone.pretrained=False'
QUICK = [
    [],
    [*CLASSIFIER, UNTRAINED, 'train_cfg.max_epochs=2', 'train_dataloader.batch_size=6'],
    CLASSIFIER,
    [*SEGMENTOR, 'train_cfg.max_iters=2', 'train_dataloader.batch_size=2'],
    [*SEGMENTOR, 'default_hooks.visualization.draw=True'],
    SEGMENTOR,
]
"""Added to each command; drawing is offered for the fifth by the page itself."""
COLOURS = {'cat': (210, 40, 40), 'dog': (40, 190, 60), 'red fox': (50, 60, 220)}
# path: (mode, width, height, tags)
IMAGES = {
    'holiday 2024/IMG 1.jpg': ('RGB', 64, 48, 'dog'),
    'holiday 2024/IMG 2.jpg': ('L', 50, 40, 'dog'),
    'garden/übersicht.png': ('RGBA', 48, 64, 'cat;red fox'),
    'garden/deep/日本 a.png': ('RGB', 40, 70, 'red fox'),
    'garden/deep/b,c.JPG': ('RGB', 72, 36, 'cat;dog'),
    **{
        f'plain/{number}.jpg': ('RGB', 56, 48, tag)
        for number, tag in enumerate(['cat', 'dog', 'red fox'] * 3)
    },
}
NEW = {'sub/neu ü.png': ('RGBA', 33, 57, 'cat'), 'b.jpg': ('L', 61, 40, 'dog')}


def fenced(language):
    return re.findall(rf'```{language}\n(.*?)```', PAGE, re.DOTALL)


def commands():
    """Return the words of the first block's commands."""
    lines = fenced('bash')[0].replace('\\\n', ' ').splitlines()
    return [shlex.split(line) for line in lines]


def three_lines():
    return ast.parse(fenced('python')[0]).body


def setting(name):
    (value,) = [x.value for x in three_lines() if x.targets[0].id == name]
    return ast.literal_eval(value)


CLASSES = setting('classes')


def draw(path, mode, width, height, tags):
    """Draw a box for each tag on noise."""
    random = np.random.default_rng(list(path.name.encode()))
    image = random.integers(90, 140, (height, width, 3)).astype(np.uint8)
    for place, tag in enumerate(tags.split(';')):
        left = 4 + place * width // 2
        image[8 : height // 2 + 8, left : left + width // 3] = COLOURS[tag]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).convert(mode).save(path)


def write_data(data):
    for path, facts in IMAGES.items():
        draw(data / path, *facts)
    for path, facts in NEW.items():
        draw(data.parent / 'new' / path, *facts)
    with open(data / setting('tag_file'), 'w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(fenced('text')[0].splitlines()[0].split(','))
        writer.writerows((path, facts[3]) for path, facts in IMAGES.items())


def run(words):
    """Run ``python tools/x.py ...`` in this process; return its exit code."""
    program, tool, *arguments = words
    assert program == 'python'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [tool, *arguments])
        patch.setattr(DefaultScope, '_instance_dict', copy.copy(SCOPES))
        without_slow_logging(patch)
        try:
            runpy.run_path(tool, run_name='__main__')
        except SystemExit as stop:
            return stop.code or 0
    return 0


SCOPES = copy.copy(DefaultScope._instance_dict)


def with_options(words, options):
    if not options:
        return words
    begin = [] if '--cfg-options' in words else ['--cfg-options']
    return [*words, *begin, *options]


@pytest.fixture(scope='module')
def walked(tmp_path_factory):
    """The folder in which all commands have run, and their exit codes."""
    place = tmp_path_factory.mktemp('walk')
    (place / 'tools').symlink_to(ROOT / 'tools')
    shutil.copytree(ROOT / 'configs', place / 'configs')
    text = (place / CUSTOM).read_text()
    for line in three_lines():
        name = line.targets[0].id
        text, found = re.subn(f'^{name} = .*$', ast.unparse(line), text, flags=re.M)
        assert found == 1
    (place / CUSTOM).write_text(text)
    write_data(place / setting('data_root'))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv('OMP_NUM_THREADS', '1')
        codes = [run(with_options(*pair)) for pair in zip(commands(), QUICK)]
    return place, codes


def held_out():
    """Return the images held out, by the digest that the code states."""
    share = {}
    for path in IMAGES:
        digest = hashlib.sha256(path.rpartition('.')[0].encode()).digest()
        share[path] = int.from_bytes(digest[:8], 'big') / 2**64
    return {path for path in IMAGES if share[path] < 0.1}


def parts(place):
    """Return the tags of trained and held-out images by id, read from the CSV."""
    with open(place / setting('data_root') / setting('tag_file'), newline='') as file:
        rows = {path: tags.split(';') for path, tags in list(csv.reader(file))[1:]}
    out = held_out()
    train = {p.rpartition('.')[0]: tags for p, tags in rows.items() if p not in out}
    return train, {p.rpartition('.')[0]: rows[p] for p in out}


def files(folder, suffix='.png'):
    paths = folder.rglob(f'*{suffix}')
    return {str(p.relative_to(folder).with_suffix('')): p for p in paths}


def size_of(name, images):
    (facts,) = [f for path, f in images.items() if path.rpartition('.')[0] == name]
    return facts[1:3]


def test_all_six_commands_succeed(walked):
    assert len(commands()) == len(QUICK) == 6
    assert walked[1] == [0] * 6


def test_the_report_counts_what_the_table_says(walked):
    report = json.loads((walked[0] / 'work_dirs/check/cam/report.json').read_text())
    assert report['errors'] == 0
    parted = parts(walked[0])
    assert all(parted), 'the images must fall to both parts'
    found = [(split['name'], split['images']) for split in report['splits']]
    train, val = map(len, parted)
    assert found == [('train, seed', train), ('val, test', val)]
    for split, tags in zip(report['splits'], parted):
        counts = Counter(tag for names in tags.values() for tag in names)
        assert split['classes'] == {name: counts[name] for name in CLASSES}


def test_a_seed_and_a_label_for_each_training_image(walked):
    pseudo = walked[0] / 'work_dirs/custom/pseudo'
    train, _ = parts(walked[0])
    labels = files(pseudo / 'labels')
    assert files(pseudo / 'seeds', '.seed').keys() == labels.keys() == train.keys()
    manifest = json.loads((pseudo / 'labels.json').read_text())
    assert manifest['num_images'] == len(train)
    for name, tags in train.items():
        with Image.open(labels[name]) as image:
            assert image.size == size_of(name, IMAGES)
            found = set(np.unique(np.asarray(image)).tolist())
        assert found <= {0, 255, *(CLASSES.index(tag) + 1 for tag in tags)}


def check_predictions(folder, names, images):
    found = files(folder)
    assert found.keys() == names
    for name, path in found.items():
        with Image.open(path) as image:
            assert (image.mode, image.size) == ('P', size_of(name, images))
            assert np.asarray(image).max() <= len(CLASSES)


def test_a_prediction_for_each_image_held_out(walked):
    _, val = parts(walked[0])
    work = walked[0] / 'work_dirs/custom'
    check_predictions(work / 'predictions', val.keys(), IMAGES)
    drawn = list((work / 'deeplabv2_small').glob('*/vis_data/vis_image/*.png'))
    assert len(drawn) == len(val)


def test_a_prediction_for_each_new_image(walked):
    names = {path.rpartition('.')[0] for path in NEW}
    check_predictions(walked[0] / 'work_dirs/custom/new', names, NEW)


def examples():
    """Return name and content of the page's tag files."""
    table = PAGE[PAGE.index('| `tag_file` |') : PAGE.index('Files are in UTF-8')]
    rows = re.findall(r'^\| `(tags\.\w+)` \| `(.*)` \|$', table, re.MULTILINE)
    return [*rows, ('tags.tsv', 'pets/a.jpg\tcat;red fox')]


@pytest.mark.parametrize(('name', 'content'), examples())
def test_examples_of_tag_files(tmp_path, name, content):
    draw(tmp_path / 'pets/a.jpg', 'RGB', 12, 10, 'cat')
    if name.endswith('.npy'):
        array = ast.literal_eval(re.search(r'\[\[.*\]\]', content)[0])
        np.save(tmp_path / name, array)
    else:
        (tmp_path / name).write_text(content)
    dataset = ImageTagDataset(
        data_root=str(tmp_path),
        data_prefix=dict(img_path=''),
        tag_file=name,
        classes=CLASSES,
    )
    assert dataset.get_data_info(0)['gt_label'] == [0, 2]


def test_a_folder_for_each_class_and_a_file_of_classes(tmp_path):
    for path in ('cat/a.jpg', 'red fox/b.jpg'):
        draw(tmp_path / path, 'RGB', 12, 10, 'cat')
    (tmp_path / 'classes.txt').write_text('\ufeff' + '\n'.join(CLASSES), 'utf-8')
    dataset = ImageTagDataset(
        data_root=str(tmp_path),
        data_prefix=dict(img_path=''),
        tag_file='.',
        classes='classes.txt',
    )
    assert [dataset.get_data_info(i)['gt_label'] for i in (0, 1)] == [[0], [2]]


def changed_configs(place, lines):
    """Copy the configs with other lines of the custom data; return their folder."""
    shutil.copytree(ROOT / 'configs', place / 'configs')
    text = (place / CUSTOM).read_text()
    for name, line in lines.items():
        text, found = re.subn(f'^{name} = .*$', line, text, flags=re.MULTILINE)
        assert found == 1
    (place / CUSTOM).write_text(text)
    return place / 'configs/custom'


@pytest.mark.parametrize('name', ['cam', 'acr', 'rca', 'deeplabv2', 'deeplabv2_small'])
def test_own_splits_and_classes_reach_every_config(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    lines = {
        'train_list, val_list': fenced('python')[1].strip(),
        'classes': "classes = 'classes.txt'",
    }
    folder = changed_configs(tmp_path, lines)
    data = tmp_path / setting('data_root')
    data.mkdir(parents=True)
    (data / 'classes.txt').write_text('\n'.join([*CLASSES, 'owl', '']))
    config = Config.fromfile(folder / f'{name}.py')
    outputs = config.model.get('num_classes') or config.model.decode_head.num_classes
    segments = 'decode_head' in config.model
    assert outputs == len(CLASSES) + 1 + segments
    for part, listed in dict(
        seed='train.txt', train='train.txt', test='val.txt'
    ).items():
        if segments and part != 'test':
            continue
        dataset = config[f'{part}_dataloader'].dataset
        assert (dataset.ann_file, dataset.get('part')) == (listed, None)
        assert dataset.classes == (*CLASSES, 'owl')
