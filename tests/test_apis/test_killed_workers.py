"""A worker that the kernel kills: one clear line, and what was finished remains."""

import os
import re
import shutil
import signal
from concurrent.futures import ProcessPoolExecutor

import pytest
from cheap_chain import Chain
from pseudo_label_run import (
    files_of,
    keep_images,
    one_thread,
    run_tool,
    write_checkpoint,
    write_config,
)
from torch.utils.data import get_worker_info

from mmwsss.apis import launch
from mmwsss.apis import pseudo_labels as module
from mmwsss.apis.pipeline import StageError
from mmwsss.datasets.transforms import LoadImage

COUNT = 4
IDS = [f'2007_00000{n}' for n in range(1, COUNT + 1)]


@pytest.fixture
def tool(tmp_path, voc_root, monkeypatch, capfd):
    """Make labels in a folder; return the lines on stderr, none if all is well."""
    keep_images(voc_root, COUNT)
    config = write_config(tmp_path, voc_root)
    checkpoint = write_checkpoint(tmp_path / 'tiny.pth', config)
    shutil.rmtree(voc_root / 'SegmentationClass')

    def run(out, *arguments):
        capfd.readouterr()
        try:
            run_tool(monkeypatch, config, checkpoint, '--out', out, *arguments)
        except SystemExit as stop:
            assert stop.code == 1
            return capfd.readouterr().err.strip().splitlines()
        return []

    with one_thread(monkeypatch):
        yield run


def killed_at_third(function):
    """Return the function, which kills the worker that calls it for the third image."""

    def kill(*args):
        if get_worker_info() is not None and any(IDS[2] in str(arg) for arg in args):
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args)

    return kill


def is_one_line(lines):
    (line,) = lines
    worker = r'ProcessError: (DataLoader worker \(pid|a worker has ended \()'
    assert re.match(worker, line)
    assert 'want of memory; ask for fewer of them (num_workers of the data' in line
    assert 'then run again, finished files are kept' in line


def test_a_worker_that_reads_images_for_seeds(tool, tmp_path, monkeypatch):
    options = ('--cfg-options', 'seed_dataloader.num_workers=1')
    assert tool(tmp_path / 'quiet', *options) == []
    with monkeypatch.context() as patch:
        transform = killed_at_third(LoadImage.transform)
        patch.setattr(LoadImage, 'transform', transform)
        is_one_line(tool(tmp_path / 'out', *options))
    seeds = {path.stem for path in (tmp_path / 'out/seeds').glob('*.seed')}
    assert seeds <= set(IDS[:2])
    assert tool(tmp_path / 'out', *options) == []
    assert files_of(tmp_path / 'out') == files_of(tmp_path / 'quiet')


def test_a_job_that_refines(tool, tmp_path, monkeypatch):
    assert tool(tmp_path / 'quiet') == []
    with monkeypatch.context() as patch:
        label = killed_at_third(module.label_image)
        patch.setattr(module, 'label_image', label)
        is_one_line(tool(tmp_path / 'out', '--jobs', '2'))
    before = files_of(tmp_path / 'out/labels')
    assert IDS[2] + '.png' not in before
    assert not (tmp_path / 'out/labels.json').exists()
    assert tool(tmp_path / 'out', '--jobs', '2') == []
    after = files_of(tmp_path / 'out')
    assert after == files_of(tmp_path / 'quiet')
    assert all(after[f'labels/{name}'] == before[name] for name in before)


def end_oneself():
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_of_a_pool(capsys):
    def main():
        with ProcessPoolExecutor(1) as pool:
            pool.submit(end_oneself).result()

    with pytest.raises(SystemExit):
        launch.run_tool(main)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('ProcessError: A process in the process pool was terminated')
    assert 'ask for fewer of them' in line


def test_a_tool_of_a_pipeline(tmp_path):
    chain = Chain(tmp_path)
    script = chain.script.read_text()
    chain.script.write_text(
        'import os, signal, sys\n'
        "if sys.argv[2] == 'two': os.kill(os.getpid(), signal.SIGKILL)\n" + script
    )
    message = 'stage two was killed by signal 9, as for want of memory; its log is'
    with pytest.raises(StageError, match=message):
        chain.run()
    chain.script.write_text(script)
    assert chain.run() == ['two', 'three']


AGAIN = 'then run again, finished files are kept'
DISK_ERRORS = [
    (
        OSError(28, 'No space left on device', '/x/y'),
        f'ArtefactError: cannot write /x/y: the disk is full: free some space; {AGAIN}',
    ),
    (
        OSError(30, 'Read-only file system'),
        'ArtefactError: cannot write a file: the file system is read-only: choose a '
        f'folder on a writable disk; {AGAIN}',
    ),
    (
        PermissionError(13, 'Permission denied', '/x/y'),
        'PermissionError: /x/y: Permission denied; make it readable, and its folder '
        'writable',
    ),
]


@pytest.mark.parametrize(('error', 'expected'), DISK_ERRORS)
def test_a_disk_error_that_no_one_named(capsys, error, expected):
    def main():
        raise error

    with pytest.raises(SystemExit):
        launch.run_tool(main)
    assert capsys.readouterr().err == f'{expected}\n'


@pytest.mark.parametrize(
    'error', [OSError(2, 'x'), RuntimeError('CUDA'), TypeError('y'), KeyError('z')]
)
def test_other_errors_keep_their_traceback(error):
    def main():
        raise error

    with pytest.raises(type(error)) as caught:
        launch.run_tool(main)
    assert caught.value is error
