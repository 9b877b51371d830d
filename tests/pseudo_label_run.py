"""The tool for pseudo labels on a tiny model and data set, in this process."""

import runpy
import sys
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from tiny_run import write_tiny_config

from mmwsss.registry import MODELS

ROOT = Path(__file__).parents[1]
TOOL = ROOT / 'tools/generate_pseudo_labels.py'

SEEDS = """
seed_dataloader = dict(
    num_workers=0,
    dataset=dict(
        data_root={root!r},
        ann_file='ImageSets/Segmentation/train.txt',
        tag_file='ImageSets/Segmentation/train_tags.txt',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='Resize', scale=(32, 32), keep_ratio=False),
            dict(type='PackWSSSInputs'),
        ],
    ),
)
"""


def write_config(folder, voc_root, *, extra=''):
    """Write a tiny config of ACR that makes seeds of the split ``train``."""
    extra = SEEDS.format(root=str(voc_root)) + extra
    return write_tiny_config(folder, voc_root, extra=extra)


def keep_images(voc_root, count):
    """Leave the first images of ``train`` in its list and its tag list."""
    for name in ('train', 'train_tags'):
        path = voc_root / f'ImageSets/Segmentation/{name}.txt'
        path.write_text(''.join(path.read_text().splitlines(True)[:count]))


def write_checkpoint(path, config, *, seed=0, scale=0.3):
    """Write random weights, far from zero, that fit a config's model."""
    with DefaultScope.overwrite_default_scope('mmwsss'):
        model = MODELS.build(Config.fromfile(config).model)
    generator = torch.Generator().manual_seed(seed)
    state = {
        name: scale * torch.randn(weight.shape, generator=generator)
        for name, weight in model.state_dict().items()
    }
    torch.save(dict(state_dict=state, meta={}), path)
    return path


def run_tool(monkeypatch, *arguments):
    """Run the tool as its command line would; SystemExit tells of an error."""
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
    runpy.run_path(str(TOOL), run_name='__main__')


def files_of(folder):
    """Return the bytes of all files below a folder by their relative names."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob('*'))
        if path.is_file()
    }


@contextmanager
def one_thread(monkeypatch):
    """Compute on one thread, as other processes do, and collect no garbage."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    # every data set that is built would collect for a quarter of a second
    monkeypatch.setattr('mmengine.dataset.base_dataset.gc.collect', lambda: 0)
    yield
    torch.set_num_threads(threads)
