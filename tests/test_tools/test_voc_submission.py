"""Archives for VOC's server against what mmseg's own tool writes without judging."""

import gc
import io
import os
import re
import runpy
import shutil
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest
from mmseg.datasets import PascalVOCDataset
from PIL import Image
from segmentation_place import (
    MMSEG_TOOLS,
    as_options,
    decided_checkpoint,
    read_split,
    run_script,
    small_options,
    write_list,
    write_voc,
)
from tiny_run import ROOT, without_slow_logging

from mmwsss.utils.errors import ConfigError, DataError

TOOL = ROOT / 'tools/analysis/voc_submission.py'
SEGMENTATION = ROOT / 'configs/segmentation'
PLAIN = SEGMENTATION / 'deeplabv2_r101_voc_acr.py'
CRF = SEGMENTATION / 'deeplabv2_r101_voc_acr_crf.py'
DATA = 'data/VOCdevkit/VOC2012'
LISTS = 'ImageSets/Segmentation'
FOLDER = 'results/VOC2012/Segmentation'


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A small VOC; its test images have no masks and are copies of those of val."""
    place = tmp_path_factory.mktemp('place')
    write_voc(place)
    data = place / DATA
    names = read_split(data, 'val')
    for name in names:
        images = data / 'JPEGImages'
        shutil.copy(images / f'{name}.jpg', images / f'{name}_copy.jpg')
    write_list(data / LISTS / 'test.txt', [f'{name}_copy' for name in names])
    decided_checkpoint(PLAIN, place / 'decided.pth')
    # mmengine collects garbage for each data set, among all that the imports made
    gc.freeze()
    yield place
    gc.unfreeze()


@pytest.fixture(autouse=True)
def quiet(monkeypatch, place):
    without_slow_logging(monkeypatch)
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.chdir(place)


@pytest.fixture
def functions():
    return SimpleNamespace(**runpy.run_path(str(TOOL)))


def options_of(path, name, **more):
    own = {'experiment_name': f'{name}_{os.getpid()}'}
    if path == CRF:
        own['test_evaluator.jobs'] = 1
    more = {key.replace('__', '.'): value for key, value in more.items()}
    return as_options(small_options(path) | own | more)


def submit(monkeypatch, out, path=PLAIN, *flags, **options):
    arguments = (path, 'decided.pth', '--out', out, '--work-dir', out.parent / 'work')
    options = options_of(path, out.stem, **options)
    run_script(TOOL, monkeypatch, *arguments, *flags, *options)


def labels_by_mmseg(monkeypatch, folder, path, *flags):
    """Labels (H, W) by image id, of mmseg's tool with its own metric's format_only."""
    kind = {} if path == CRF else dict(test_evaluator__type='IoUMetric')
    options = options_of(
        path,
        folder.name,
        test_evaluator__format_only=True,
        test_evaluator__output_dir=folder,
        **kind,
    )
    arguments = (path, 'decided.pth', '--work-dir', folder.parent / 'mmseg')
    run_script(MMSEG_TOOLS / 'test.py', monkeypatch, *arguments, *flags, *options)
    return {file.stem: np.array(Image.open(file)) for file in folder.glob('*.png')}


def pictures_of(archive):
    with tarfile.open(archive, 'r:gz') as tar:
        return {
            member.name: Image.open(io.BytesIO(tar.extractfile(member).read()))
            for member in tar.getmembers()
        }


def test_labels_are_those_mmseg_writes(place, tmp_path, monkeypatch, capfd):
    submit(monkeypatch, tmp_path / 'val.tgz')
    assert f'labels of 2 images in {FOLDER}/comp6_val_cls' in capfd.readouterr().out
    expected = labels_by_mmseg(monkeypatch, tmp_path / 'labels', PLAIN)
    found = pictures_of(tmp_path / 'val.tgz')
    names = read_split(place / DATA, 'val')
    assert list(found) == [f'{FOLDER}/comp6_val_cls/{name}.png' for name in names]
    assert sorted(expected) == names
    palette = sum(PascalVOCDataset.METAINFO['palette'], [])
    for name, picture in zip(names, found.values()):
        np.testing.assert_array_equal(np.array(picture), expected[name])
        image = Image.open(place / DATA / f'JPEGImages/{name}.jpg')
        assert (picture.mode, picture.size) == ('P', image.size)
        assert picture.getpalette()[: len(palette)] == palette
        assert len(np.unique(picture)) > 3
    assert [p.name for p in tmp_path.glob('*.tgz')] == ['val.tgz']


def test_images_without_masks_with_scales_flips_and_crf(tmp_path, monkeypatch):
    pytest.importorskip('pydensecrf.densecrf')
    flags = ('--tta', '--competition', 'comp5', '--list', f'{LISTS}/test.txt')
    outs = [tmp_path / 'test.tgz', tmp_path / 'again.tgz']
    for out in outs:
        submit(monkeypatch, out, CRF, *flags)
    assert outs[0].read_bytes() == outs[1].read_bytes()
    expected = labels_by_mmseg(monkeypatch, tmp_path / 'labels', CRF, '--tta')
    found = pictures_of(outs[0])
    assert len(found) == len(expected) == 2
    for name, label in expected.items():
        picture = found[f'{FOLDER}/comp5_test_cls/{name}_copy.png']
        np.testing.assert_array_equal(np.array(picture), label)


@pytest.mark.parametrize(
    ('flags', 'options', 'message'),
    [
        (
            (),
            dict(test_dataloader__dataset__metainfo__classes='background,cat'),
            r'PascalVOCDataset has 2 classes \(background, cat\), reduce_zero_label=F',
        ),
        (
            (),
            dict(test_dataloader__dataset__reduce_zero_label=True),
            'reduce_zero_label=True; the server takes',
        ),
        (
            (),
            dict(test_dataloader__dataset__indices=1),
            r'no prediction for 1 of 2 images of the list \(2007_000003\)',
        ),
        (('--list', 'train.txt'), {}, 'takes labels of val.txt or test.txt'),
        (('--list', 'a/test.txt'), {}, 'a/test.txt does not exist; set --list'),
        (('--launcher', 'pytorch'), {}, 'one process; leave --launcher out'),
    ],
)
def test_refusals(flags, options, message, tmp_path, monkeypatch, capfd):
    out = tmp_path / 'a.tgz'
    out.write_bytes(b'of last time')
    with pytest.raises(SystemExit) as stop:
        submit(monkeypatch, out, PLAIN, *flags, **options)
    assert stop.value.code == 1
    (line,) = capfd.readouterr().err.strip().splitlines()[-1:]
    assert re.search(message, line), line
    assert out.read_bytes() == b'of last time'


def test_place_of_the_archive_is_tried_first(tmp_path, monkeypatch, capfd):
    (tmp_path / 'file').touch()
    with pytest.raises(SystemExit):
        submit(monkeypatch, tmp_path / 'file/a.tgz', PLAIN, '--list', 'absent')
    error = capfd.readouterr().err
    assert 'cannot write' in error and 'a part of the path is a file' in error


def test_labels_of_another_size_or_of_no_class(functions, place, tmp_path):
    name = read_split(place / DATA, 'val')[0]
    images = {name: str(place / DATA / f'JPEGImages/{name}.jpg')}
    for label, message in (
        (np.zeros((48, 40), np.uint8), r'\(48, 40\) rows and columns, .* \(40, 48\)'),
        (np.full((40, 48), 21, np.uint8), f'{name}.jpg: label map: expected labels 0'),
    ):
        Image.fromarray(label).save(tmp_path / f'{name}.png')
        with pytest.raises(DataError, match=message):
            functions.encoded_labels([name], images, tmp_path)


def test_masks_are_taken_off_at_any_depth(functions):
    load, pack = dict(type='mmwsss.LoadImage'), dict(type='PackSegInputs')
    mask, flip = dict(type='mmwsss.LoadMask'), dict(type='RandomFlip', prob=1.0)
    views = dict(type='TestTimeAug', transforms=[[flip, flip], [mask], [pack]])
    found = functions.without_masks([load, views, dict(type='LoadAnnotations')])
    expected = dict(type='TestTimeAug', transforms=[[flip, flip], [pack]])
    assert found == [load, expected]
    assert views['transforms'][1] == [mask]


def test_config_without_scales_or_evaluator(functions, tmp_path):
    args = SimpleNamespace(
        config=str(tmp_path / 'a.py'),
        cfg_options={},
        launcher='none',
        local_rank=0,
        work_dir=str(tmp_path),
        list=None,
        tta=True,
    )
    text = 'test_evaluator = dict(type="IoUMetric")\nmodel = dict()\n'
    text += 'test_dataloader = dict(dataset=dict(pipeline=[]))\n'
    (tmp_path / 'a.py').write_text(text)
    with pytest.raises(ConfigError, match=r'--tta: .*a.py has no tta_pipeline'):
        functions.submission_config(args, str(tmp_path))
    (tmp_path / 'a.py').write_text('test_evaluator = None\n')
    with pytest.raises(ConfigError, match='a.py has no single test_evaluator; name a'):
        functions.submission_config(args, str(tmp_path))
