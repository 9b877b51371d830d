"""Finished work beside input that is bad, and tools called as from a shell."""

import hashlib
import importlib.util
import os
import pickle
import shutil
import struct
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from pseudo_label_run import keep_images, write_config
from tiny_run import ROOT, without_slow_logging

from mmwsss.apis.launch import run_tool
from mmwsss.utils.checkpoint import read_checkpoint

IMAGES = 3
IDS = [f'2007_00000{n}' for n in range(1, IMAGES + 1)]
LISTS = 'ImageSets/Segmentation'
TOOLS = {
    'train': 'train',
    'test': 'test',
    'labels': 'generate_pseudo_labels',
    'check': 'check_dataset',
    'pipeline': 'run_pipeline',
    'store': 'analysis/seed_store',
    'quality': 'analysis/label_miou',
    'publish': 'model_converters/publish',
    'tags': 'dataset_converters/voc_tags',
    'synthetic': 'dataset_converters/synthetic',
}
FINISHED = {'.pth', '.seed', '.png', '.jpg', '.shard', '.npy'}
"""Endings of what nobody wants to make again."""
LONG = 1 << 30
MANIFESTS = {'labels.json', 'manifest.json', 'index.json', 'last_checkpoint'}


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@dataclass
class Place:
    """Data, a trained classifier, its seeds and labels, in a folder of a test's own."""

    root: Path
    call: object = None

    @property
    def voc(self):
        return self.root / 'VOC2012'

    @property
    def config(self):
        return self.root / 'tiny.py'

    @property
    def checkpoint(self):
        return self.root / 'work/epoch_1.pth'

    @property
    def out(self):
        return self.root / 'out'

    @property
    def sprung(self):
        return self.root / 'sprung'

    def list(self, name='train'):
        return self.voc / f'{LISTS}/{name}.txt'

    def image(self, number=1):
        return self.voc / f'JPEGImages/{IDS[number]}.jpg'

    def mask(self, number=1):
        return self.voc / f'SegmentationClass/{IDS[number]}.png'

    def seed(self, number=1):
        return self.out / f'seeds/{IDS[number]}.seed'

    def label(self, number=1):
        return self.out / f'labels/{IDS[number]}.png'

    def bad(self, content=None):
        """Return the path of a bad checkpoint; a dict is saved, bytes are written."""
        path = self.root / 'bad.pth'
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            torch.save(content, path)
        return path

    def state(self):
        return read_checkpoint(self.checkpoint)

    def finished(self):
        """Return a digest of each file of finished work."""
        paths = (path for path in self.root.rglob('*') if path.is_file())
        return {
            path.relative_to(self.root).as_posix(): digest(path)
            for path in paths
            if path.suffix in FINISHED or path.name in MANIFESTS
        }


def digest(path):
    """Return a file's digest, or the length of one that is mostly holes."""
    size = path.stat().st_size
    return size if size > LONG else hashlib.sha256(path.read_bytes()).hexdigest()


class Caller:
    """Calls tools in this process, as from a shell in the place."""

    def __init__(self, place, monkeypatch, capfd):
        self.place, self.patch, self.capfd = place, monkeypatch, capfd
        self.count = 0

    def __call__(self, name, *arguments):
        """Return exit code and lines of the standard error."""
        path = ROOT / f'tools/{TOOLS[name]}.py'
        spec = importlib.util.spec_from_file_location(f'bad_input_{name}', path)
        tool = importlib.util.module_from_spec(spec)
        # converters hand their functions to other processes, by their module's name
        self.patch.setitem(sys.modules, spec.name, tool)
        spec.loader.exec_module(tool)
        self.patch.setattr(sys, 'argv', [path.name, *map(str, arguments)])
        self.capfd.readouterr()
        code = 0
        try:
            run_tool(tool.main)
        except SystemExit as stop:
            code = stop.code or 0
        return code, self.capfd.readouterr().err.strip().splitlines()

    def named(self):
        """Return the option that gives a run a name of its own."""
        self.count += 1
        folder = self.place.root.name
        return f'experiment_name=bad{os.getpid()}_{self.count}_{folder}'


def quiet_runs(monkeypatch):
    """Leave out what takes most of the time of a tiny run."""
    without_slow_logging(monkeypatch)
    monkeypatch.setattr('mmengine.dataset.base_dataset.gc.collect', lambda: 0)
    monkeypatch.setenv('LOCAL_RANK', '0')


def finish_work(place, call):
    """Train, and make seeds and labels."""
    options = ['--cfg-options', 'train_cfg.max_epochs=1', call.named()]
    work = place.root / 'work'
    code, lines = call('train', place.config, '--work-dir', work, *options)
    assert code == 0, lines
    labels = ['--out', place.out, '--refiner', 'threshold']
    code, lines = call('labels', place.config, place.checkpoint, *labels)
    assert code == 0, lines


def copy_work(source, target):
    """Bring finished work into another place; paths of the data count for nothing."""
    for name in ('work', 'out'):
        shutil.copytree(source / name, target / name)


def make_place(root, voc_root):
    """Return the place around a VOC tree that lies in ``root``."""
    keep_images(voc_root, IMAGES)
    place = Place(Path(root))
    write_config(place.root, voc_root)
    return place


def place_with_work(root, voc_root, work, monkeypatch, capfd):
    """Yield a place with finished work, which the first call leaves in ``work``."""
    quiet_runs(monkeypatch)
    monkeypatch.chdir(root)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    place = make_place(root, voc_root)
    place.call = Caller(place, monkeypatch, capfd)
    if not (work / 'out').exists():
        finish_work(place, place.call)
        copy_work(place.root, work)
    else:
        copy_work(work, place.root)
    yield place
    torch.set_num_threads(threads)


# --------------------------------------------------------------------- bytes that lie


def png_of(width, height, body=b''):
    """Return a PNG whose header claims this size."""

    def chunk(kind, content):
        checksum = zlib.crc32(kind + content).to_bytes(4, 'big')
        return struct.pack('>I', len(content)) + kind + content + checksum

    head = struct.pack('>IIBBBBB', width, height, 8, 3, 0, 0, 0)
    parts = [(b'IHDR', head), (b'PLTE', bytes(768)), (b'IDAT', zlib.compress(body))]
    content = b''.join(chunk(*part) for part in [*parts, (b'IEND', b'')])
    return b'\x89PNG\r\n\x1a\n' + content


def compressed(path):
    """Compress the records of a checkpoint, as torch itself never does."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in records.items():
            archive.writestr(name, content)


def trapped_array(path, trap):
    """Write a dictionary of maps, as the field has them, that runs code."""
    np.save(path, np.array({0: trap}, dtype=object), allow_pickle=True)


def raw_pickle(value):
    """Return a pickle of no format of torch."""
    return pickle.dumps(value)


# ------------------------------------------------------------------------- commands


def command(tool, *arguments):
    return tool, arguments


def with_options(options):
    return ('--cfg-options', '{named}', *options)


def train(*options, flags=()):
    work = ('{config}', *flags, '--work-dir', '{root}/work')
    return command('train', *work, *with_options(('train_cfg.max_epochs=2', *options)))


def resume(checkpoint='{root}/bad.pth'):
    return train(flags=('--resume', checkpoint))


def measure(checkpoint='{checkpoint}', *options):
    work = ('{config}', checkpoint, '--work-dir', '{root}/work')
    return command('test', *work, *with_options(options))


def seeds(*arguments, checkpoint='{checkpoint}'):
    return command(
        *('labels', '{config}', checkpoint, '--out', '{out}'),
        *('--refiner', 'threshold', *arguments),
    )


def check(*arguments):
    return command('check', '{config}', '--out', '{root}/report', *arguments)


def store(*arguments):
    return command('store', *arguments)


def pipeline(*arguments):
    return command(
        'pipeline', '{root}/chain.py', '--work-dir', '{root}/chain', *arguments
    )


def run(place, case):
    tool, arguments = case
    names = dict(
        root=place.root,
        voc=place.voc,
        config=place.config,
        checkpoint=place.checkpoint,
        out=place.out,
        named=place.call.named(),
    )
    return place.call(tool, *(str(a).format(**names) for a in arguments))


def refused(place, case, kind, parts):
    """Run a case; check its exit code, its one line and what was finished before."""
    before = place.finished()
    assert before
    code, lines = run(place, case)
    said = [line for line in lines if 'Error: ' in line or 'Traceback' in line]
    assert code == 1 and len(said) == 1, (code, lines)
    assert said[0] == lines[-1]
    assert said[0].startswith(f'{kind}Error: '), said[0]
    for part in parts:
        part = part.format(root=place.root, voc=place.voc, out=place.out)
        assert part in said[0], f'{part!r} is not in {said[0]!r}'
    assert len(said[0]) < 1500
    assert not place.sprung.exists()
    after = place.finished()
    lost = {name for name in before if after.get(name) != before[name]}
    assert not lost


def cases(table):
    return pytest.mark.parametrize(
        ('damage', 'case', 'kind', 'parts'),
        [pytest.param(*row[1:], id=row[0]) for row in table],
    )


def nothing(place):
    """Leave all as it is: the command itself is bad."""


def written(name, content):
    """Return a damage that writes a file of the place, named by its attribute."""

    def damage(place):
        path = getattr(place, name)
        path = path() if callable(path) else path
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return damage


def cut(name, keep):
    def damage(place):
        path = getattr(place, name)()
        path.write_bytes(path.read_bytes()[:keep])

    return damage
