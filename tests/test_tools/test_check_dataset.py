"""The check on a data set with one of each problem, and on a sound one."""

import hashlib
import importlib.util
import json
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmwsss.apis.dataset_check import load_splits
from mmwsss.apis.launch import run_tool
from mmwsss.datasets.tag_table import read_tag_table
from mmwsss.datasets.tag_writing import write_tag_table
from mmwsss.utils.errors import DataError

PATH = Path(__file__).parents[2] / 'tools/check_dataset.py'
CONFIG = """
default_scope = 'mmwsss'
data = dict(
    type='ImageTagDataset', data_root={root!r}, tag_file={tags!r},
    classes=('cat', 'red fox'),
)
model = dict(type='CAMClassifier', num_classes={model})
train_dataloader = dict(
    dataset=dict(**data, ann_file='train.txt', data_prefix=dict(img_path='images'))
)
val_dataloader = dict(
    dataset=dict(
        **data,
        ann_file='val.txt',
        data_prefix=dict(img_path='images', seg_map_path='masks'),
    )
)
"""


def noise(seed, size=(64, 48)):
    values = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3))
    return Image.fromarray(values.astype(np.uint8))


def save_mask(root, name, labels, size=(64, 48)):
    mask = np.zeros(size[::-1], np.uint8)
    for row, label in enumerate(labels):
        mask[row] = label
    Image.fromarray(mask).save(root / f'masks/{name}.png')


@pytest.fixture
def root(tmp_path):
    """24 training images, 4 to measure on, all sound."""
    root = tmp_path / 'data'
    for folder in ('images', 'masks'):
        (root / folder).mkdir(parents=True)
    tags = {}
    for i in range(24):
        tags[f't{i}.png'] = 'cat' if i % 2 else 'red fox'
    for i in range(4):
        tags[f'v{i}.png'] = 'cat' if i % 2 else 'red fox'
        save_mask(root, f'v{i}', [1 if i % 2 else 2])
    for seed, name in enumerate(tags):
        noise(seed).save(root / 'images' / name)
    lines = [f'{name},{tag}\n' for name, tag in tags.items()]
    (root / 'tags.csv').write_text(''.join(lines))
    for split in ('train', 'val'):
        names = [name for name in tags if name[0] == split[0]]
        (root / f'{split}.txt').write_text('\n'.join(names))
    return root


@pytest.fixture
def check(root, monkeypatch, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location('check_dataset', PATH)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    def check(*arguments, model=2, tags='tags.csv', workers=0):
        path = tmp_path / 'config.py'
        path.write_text(CONFIG.format(root=str(root), model=model, tags=tags))
        out = ['--out', str(tmp_path / 'out'), '--workers', str(workers)]
        monkeypatch.setattr(sys, 'argv', ['check', str(path), *out, *arguments])
        code = 0
        try:
            run_tool(tool.main)
        except SystemExit as stop:
            code = stop.code
        report = tmp_path / 'out/report.json'
        return code, json.loads(report.read_text()) if report.exists() else None

    return check


def kinds(report):
    return {(p['kind'], p['where']): p['count'] for p in report['problems']}


def digest(root):
    files = sorted(path for path in root.rglob('*') if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize('workers', [0, 2])
def test_a_sound_data_set(check, root, tmp_path, capsys, workers):
    before = digest(root)
    code, report = check(workers=workers)
    assert (code, report['errors'], report['problems']) == (0, 0, [])
    assert [(s['name'], s['images']) for s in report['splits']] == [
        ('train', 24),
        ('val', 4),
    ]
    assert report['splits'][0]['classes'] == {'cat': 12, 'red fox': 12}
    assert report['cooccurrence'] == [[12, 0], [0, 12]]
    assert report['sizes']['0-127'] == 28
    assert digest(root) == before
    printed = capsys.readouterr().out
    assert '0 errors, 0 warnings' in printed
    page = (tmp_path / 'out/report.html').read_text()
    assert '<script' not in page
    assert 'red fox' in page


def test_one_of_each_problem(check, root, capsys):
    images = root / 'images'
    (images / 't0.png').write_bytes(b'no picture')
    content = (images / 't1.png').read_bytes()
    (images / 't1.png').write_bytes(content[: len(content) // 2])
    noise(100, (20, 50)).save(images / 't2.png')
    (images / 't4.png').write_bytes((images / 't3.png').read_bytes())
    (images / 'v3.png').write_bytes((images / 't5.png').read_bytes())
    save_mask(root, 'v0', [2], size=(48, 64))
    save_mask(root, 'v1', [1, 7])
    save_mask(root, 'v2', [1])
    code, report = check(model=5)
    assert code == 1
    assert kinds(report) == {
        ('corrupt_image', 'train'): 2,
        ('small_image', 'train'): 1,
        ('mask_size', 'val'): 1,
        ('mask_labels', 'val'): 1,
        ('model_classes', 'train'): 1,
        ('model_classes', 'val'): 1,
        ('copies_disagree', 'train'): 1,
        ('leak', 'train and val'): 1,
        ('tag_not_in_mask', 'val'): 1,
        ('mask_not_in_tags', 'val'): 1,
    }
    severities = [problem['severity'] for problem in report['problems']]
    assert severities == sorted(severities)  # error, warning
    assert all(problem['effect'] for problem in report['problems'])
    printed = capsys.readouterr().out
    assert 'figures on that split are too high' in printed
    assert '7 errors, 4 warnings' in printed


def test_classes_that_come_together(check, root, capsys):
    lines = (root / 'tags.csv').read_text().replace('t0.png,red', 't0.png,cat;red')
    (root / 'tags.csv').write_text(lines)
    _, report = check()
    assert report['cooccurrence'] == [[13, 1], [1, 12]]
    assert 'most often on one image: cat and red fox (1)' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('change', 'where', 'example'),
    [
        (
            lambda root: (root / 'images/t3.png').unlink(),
            'train',
            "no image 't3.png' in",
        ),
        (
            lambda root: (root / 'val.txt').write_text('v0.png\nv0.png\n'),
            'val',
            'val.txt lists v0 twice',
        ),
        (
            lambda root: (root / 'val.txt').write_bytes('ü'.encode('latin-1')),
            'val',
            'val.txt is not in UTF-8',
        ),
        (
            lambda root: Image.new('RGB', (64, 48)).save(root / 'masks/v0.png'),
            'val',
            'v0.png has 3 channels',
        ),
        (
            lambda root: Image.fromarray(np.full((48, 64), 257, np.uint16)).save(
                root / 'masks/v1.png'
            ),
            'val',
            'v1.png holds uint16 values 257..257',
        ),
        (
            lambda root: (root / 'tags.csv').write_text('t0.png,\n'),
            'train',
            'has no entry for t1, t2, t3 and 20 more',
        ),
    ],
)
def test_each_bad_file_is_an_error(check, root, change, where, example):
    change(root)
    code, report = check()
    assert code == 1
    errors = [p for p in report['problems'] if p['severity'] == 'error']
    cases = [case for p in errors if p['where'] == where for case in p['examples']]
    assert any(example in case for case in cases), report['problems']


def test_images_of_both_splits(check, root):
    (root / 'val.txt').write_text('v0.png\nv1.png\nt0.png\n')
    save_mask(root, 't0', [2])
    code, report = check()
    assert (code, kinds(report)) == (0, {('held_out', 'train and val'): 1})


@pytest.mark.parametrize(
    ('changes', 'part'),
    [
        (dict(ann_file='none.txt'), 'none.txt'),
        (dict(data_prefix=dict(img_path='none')), 'names what is not there'),
    ],
)
def test_data_sets_of_mmseg_assert_without_a_remedy(root, changes, part):
    settings = dict(
        type='mmseg.PascalVOCDataset',
        data_root=str(root),
        ann_file='val.txt',
        data_prefix=dict(img_path='images'),
    )
    config = Config(dict(val_dataloader=dict(dataset={**settings, **changes})))
    loaded, (finding,) = load_splits(config)
    assert loaded == []
    assert (finding.kind, finding.where) == ('split', 'val')
    assert part in finding.cases[0]


def test_killed_process(check, monkeypatch, capsys):
    def fail(items, text, *, total):
        raise BrokenProcessPool

    monkeypatch.setattr('mmwsss.apis.dataset_check.track', fail)
    assert check(workers=2)[0] == 1
    error = capsys.readouterr().err
    assert 'a process was killed, for want of memory perhaps' in error


def test_report_that_cannot_be_written(check, tmp_path, capsys):
    (tmp_path / 'out').write_text('in the way')
    assert check()[0] == 1
    error = capsys.readouterr().err
    assert 'cannot write' in error and 'a part of the path is a file' in error


def test_missing_masks_and_unreadable_tags(check, root):
    (root / 'masks/v0.png').unlink()
    (root / 'tags.csv').write_text('t0.png,cart\n')
    code, report = check()
    assert code == 1
    found = {p['where']: p['examples'][0] for p in report['problems']}
    assert found['train'].endswith("line 1: unknown class 'cart'; the closest known "
                                   'names are cat')  # fmt: skip
    # the images of train were read all the same
    assert report['splits'][0]['images'] == 24
    assert report['splits'][0]['tagged'] == 0


@pytest.mark.parametrize('name', ['tags.csv', 'tags.jsonl', 'tags.json', 'tags.txt'])
def test_corrected_copies(check, root, tmp_path, name):
    table = read_tag_table(str(root / 'tags.csv'))
    tags = {entry.path: entry.names for entry in table.entries}
    write_tag_table(root / name, tags, ('cat', 'red fox'))
    save_mask(root, 'v0', [1, 2])
    save_mask(root, 'v1', [2])
    before = digest(root)
    fixed = tmp_path / 'fixed'
    code, report = check('--fix-tags', str(fixed), tags=name)
    assert code == 0
    assert digest(root) == before
    found = {e.path: e.names for e in read_tag_table(str(fixed / name)).entries}
    fox = 'red_fox' if name == 'tags.txt' else 'red fox'
    assert found.keys() == tags.keys()
    assert found['v0.png'] == ('cat', fox)
    assert found['v1.png'] == (fox,)
    assert {path for path in tags if found[path] != tags[path]} >= {'v0.png', 'v1.png'}
    assert found['t1.png'] == ('cat',)


def test_corrected_copy_of_an_array(check, root, tmp_path):
    hot = [[i % 2, 1 - i % 2] for i in range(24)]
    np.save(root / 'train.npy', hot)
    (root / 'val.txt').write_text((root / 'train.txt').read_text())
    for i in range(24):
        save_mask(root, f't{i}', [1, 2] if i == 0 else [1 if i % 2 else 2])
    code, _ = check('--fix-tags', str(tmp_path / 'fixed'), tags='train.npy')
    assert code == 0
    table = read_tag_table(str(tmp_path / 'fixed/train.csv'))
    found = {entry.path: entry.names for entry in table.entries}
    assert found['t0.png'] == ('cat', 'red fox')
    assert found['t1.png'] == ('cat',)
    assert len(found) == 24


def test_originals_are_never_overwritten(check, root, capsys):
    before = digest(root)
    code, _ = check('--fix-tags', str(root))
    assert code == 1
    assert 'tags.csv is the original; choose another folder' in capsys.readouterr().err
    assert digest(root) == before


def test_bad_arguments(check, root, tmp_path, capsys):
    assert check('--cfg-options', 'train_dataloder.x=1')[0] == 1
    assert "did you mean 'train_dataloader'" in capsys.readouterr().err
    assert check('--workers', '-1')[0] == 2
    capsys.readouterr()
    with pytest.raises(DataError, match='cannot write tags in this format'):
        write_tag_table(tmp_path / 'a.xlsx', {}, ())
