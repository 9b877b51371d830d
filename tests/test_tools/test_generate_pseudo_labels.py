"""The tool as users run it, on a tiny model: no masks, faults, several processes."""

import errno
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from pseudo_label_run import (
    ROOT,
    files_of,
    keep_images,
    one_thread,
    run_tool,
    write_checkpoint,
    write_config,
)

from mmwsss.utils import atomic

COUNT = 3
IDS = [f'2007_00000{n}' for n in range(1, COUNT + 1)]
FILES = {
    'labels.json',
    *(f'seeds/{name}' for name in ('manifest.json', 'index.json')),
    *(f'labels/{name}' for name in ('manifest.json', 'index.json')),
    *(f'seeds/{name}.seed' for name in IDS),
    *(f'labels/{name}.png' for name in IDS),
}


@pytest.fixture
def tool(tmp_path, voc_root, monkeypatch, capsys):
    """Run the tool into a folder; return what it printed and its exit status."""
    keep_images(voc_root, COUNT)
    config = write_config(tmp_path, voc_root)
    checkpoint = write_checkpoint(tmp_path / 'tiny.pth', config)
    shutil.rmtree(voc_root / 'SegmentationClass')

    def run(out, *arguments, checkpoint=checkpoint):
        status = 0
        try:
            run_tool(monkeypatch, config, checkpoint, '--out', out, *arguments)
        except SystemExit as error:
            status = error.code
        return status, *capsys.readouterr()

    run.config, run.checkpoint = config, checkpoint
    with one_thread(monkeypatch):
        yield run


def refused(result):
    """Return the one line that tells why the tool stopped."""
    status, _, error = result
    (line,) = error.splitlines()
    assert status == 1
    return line


def test_seeds_and_labels_without_masks(tool, tmp_path):
    status, out, error = tool(tmp_path / 'out')
    assert (status, error) == (0, '')
    assert out.splitlines()[-1] == (
        f'{tmp_path}/out/labels: {COUNT} labels by PAMRRefiner, 0.0% of pixels '
        'undecided'
    )
    assert files_of(tmp_path / 'out').keys() == FILES
    manifest = json.loads((tmp_path / 'out/labels.json').read_text())
    assert sorted(manifest['images']) == IDS
    with Image.open(tmp_path / f'out/labels/{IDS[1]}.png') as image:
        assert set(np.unique(np.array(image))) == {0, 8}


def test_other_labels_of_the_same_seeds(tool, tmp_path):
    tool(tmp_path / 'one')
    before = files_of(tmp_path / 'one')
    place = ('--label-out', tmp_path / 'two')
    status, out, _ = tool(tmp_path / 'one', *place, '--refiner', 'threshold')
    assert status == 0
    assert out.startswith(f'{tmp_path}/two/labels: {COUNT} labels by ThresholdRefiner')
    assert files_of(tmp_path / 'one') == before
    found = files_of(tmp_path / 'two')
    assert found.keys() == {name for name in FILES if not name.startswith('seeds/')}
    seeds = [json.loads(f['labels.json'])['seeds'] for f in (before, found)]
    assert seeds[0] == seeds[1]


def test_second_run_changes_nothing(tool, tmp_path):
    tool(tmp_path / 'out')
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / 'out').rglob('*.*')}
    status, _, error = tool(tmp_path / 'out')
    assert (status, error) == (0, '')
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / 'out').rglob('*.*')}


def test_refiner_and_threshold_from_the_command_line(tool, tmp_path):
    tool(tmp_path, '--refiner', 'threshold', '--background-threshold', '0.2')
    manifest = json.loads((tmp_path / 'labels.json').read_text())
    assert manifest['refiner'] == dict(
        type='ThresholdRefiner', background_threshold=0.2, foreground_threshold=None
    )


def test_settings_of_the_refiner_from_the_command_line(tool, tmp_path):
    tool(tmp_path, '--cfg-options', 'refiner.type=pamr', 'refiner.iterations=3')
    manifest = json.loads((tmp_path / 'labels.json').read_text())
    assert manifest['refiner']['iterations'] == 3


def test_several_jobs_write_the_bytes_of_one(tool, tmp_path):
    tool(tmp_path / 'one')
    assert tool(tmp_path / 'two', '--jobs', '2')[0] == 0
    assert files_of(tmp_path / 'two') == files_of(tmp_path / 'one')


def test_corrupt_image_met_by_a_job(tool, tmp_path, voc_root):
    tool(tmp_path, '--only', 'seeds')
    path = voc_root / f'JPEGImages/{IDS[1]}.jpg'
    path.write_bytes(path.read_bytes()[:200])
    line = refused(tool(tmp_path, '--jobs', '2'))
    assert line.startswith(f'DataError: image cannot be read: {path}')


FAULTS = [(errno.ENOSPC, 'the disk is full'), (errno.EROFS, 'read-only')]


@pytest.mark.parametrize(('number', 'reason'), FAULTS)
def test_a_fault_at_each_write_loses_nothing(
    tool, tmp_path, monkeypatch, number, reason
):
    """Each run gets one file further; the last gives the files of a quiet run."""
    tool(tmp_path / 'quiet')
    writes, replace = [], os.replace

    def fail_second(source, target):
        writes.append(target)
        if len(writes) == 2:
            raise OSError(number, os.strerror(number), str(source))
        replace(source, target)

    done = {}
    for _ in range(len(FILES) - 1):
        writes.clear()
        with monkeypatch.context() as faulty:
            faulty.setattr(atomic.os, 'replace', fail_second)
            line = refused(tool(tmp_path / 'out'))
        assert line.startswith(f'ArtefactError: cannot write {writes[1]}: ')
        assert reason in line and 'finished files are kept' in line
        now = files_of(tmp_path / 'out')
        assert now.items() >= done.items() and len(now) == len(done) + 1
        done = now
    assert tool(tmp_path / 'out')[0] == 0
    assert files_of(tmp_path / 'out') == files_of(tmp_path / 'quiet')


def test_folder_that_cannot_be_written(tool, tmp_path):
    (tmp_path / 'file').write_text('')
    line = refused(tool(tmp_path / 'file/out'))
    assert line.startswith(f'ConfigError: work directory {tmp_path}/file/out cannot be')


@pytest.mark.parametrize('place', ['seeds', 'labels'])
def test_interrupted_run_goes_on(tool, tmp_path, monkeypatch, place):
    tool(tmp_path / 'quiet')
    replace = os.replace

    def stop(source, target):
        if str(target).startswith(f'{tmp_path}/out/{place}/{IDS[1]}'):
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as stopped:
        stopped.setattr(atomic.os, 'replace', stop)
        with pytest.raises(KeyboardInterrupt):
            tool(tmp_path / 'out')
    assert len(files_of(tmp_path / 'out')) == dict(seeds=2, labels=COUNT + 4)[place]
    assert tool(tmp_path / 'out')[0] == 0
    assert files_of(tmp_path / 'out') == files_of(tmp_path / 'quiet')


def test_cut_short_record_is_made_again(tool, tmp_path):
    tool(tmp_path)
    before = files_of(tmp_path / 'seeds')
    path = tmp_path / f'seeds/{IDS[1]}.seed'
    path.write_bytes(path.read_bytes()[:100])
    assert tool(tmp_path)[0] == 0
    assert files_of(tmp_path / 'seeds') == before


def test_seeds_of_another_checkpoint_or_data_set(tool, tmp_path, voc_root):
    tool(tmp_path / 'out')
    other = write_checkpoint(tmp_path / 'other.pth', tool.config, seed=1)
    line = refused(tool(tmp_path / 'out', checkpoint=other))
    assert line.startswith(
        f'ArtefactError: {tmp_path}/out/seeds holds seeds of another checkpoint ('
    )
    assert line.endswith('choose another folder or remove this one')
    keep_images(voc_root, COUNT - 1)
    line = refused(tool(tmp_path / 'out'))
    assert 'out/seeds holds seeds of another data set (' in line


def test_labels_of_another_refiner(tool, tmp_path):
    tool(tmp_path)
    line = refused(tool(tmp_path, '--refiner', 'threshold'))
    assert f'{tmp_path}/labels holds pseudo labels of another refiner (' in line


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--refiner', 'crf'], "ConfigError: no refiner 'crf'; known are densecrf (D"),
        (['--cfg-options', 'refiner.type=pamr', 'refiner.iteration=3'], "'iteration'"),
        (['--background-threshold', '2'], 'ConfigError: refiner: expected 0 <= back'),
        (
            ['--cfg-options', 'seed_dataloader.dataset.tag_fil=x'],
            "unexpected keyword argument 'tag_fil'",
        ),
        (
            ['--cfg-options', 'seed_dataloader.dataset.data_root=nowhere'],
            'DataError: nowhere does not exist; set dataset.data_root in the config',
        ),
    ],
)
def test_bad_command_lines(tool, tmp_path, arguments, message):
    assert message in refused(tool(tmp_path / 'out', *arguments))
    assert files_of(tmp_path / 'out') == {}


def test_corrupt_image_met_by_a_worker(tool, tmp_path, voc_root):
    path = voc_root / f'JPEGImages/{IDS[1]}.jpg'
    path.write_bytes(path.read_bytes()[:200])
    line = refused(tool(tmp_path, '--cfg-options', 'seed_dataloader.num_workers=1'))
    assert line.startswith(f'image cannot be read: {path}', len('DataError: '))


def test_two_processes_write_the_bytes_of_one(tool, tmp_path):
    tool(tmp_path / 'alone')
    script = ROOT / 'tools/dist_pseudo_labels.sh'
    subprocess.run(
        ['bash', script, tool.config, tool.checkpoint, '2', '--out', tmp_path / 'two'],
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable},
        check=True,
        timeout=300,
    )
    assert files_of(tmp_path / 'two') == files_of(tmp_path / 'alone')


def test_script_tells_its_usage():
    script = ROOT / 'tools/dist_pseudo_labels.sh'
    result = subprocess.run(
        ['bash', script, 'config.py', 'a.pth', '2'], capture_output=True, text=True
    )
    assert result.returncode == 2
    assert 'usage: dist_pseudo_labels.sh CONFIG CHECKPOINT GPUS --out' in result.stderr
