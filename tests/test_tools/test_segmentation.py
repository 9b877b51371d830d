"""Segmentation configs: train, stop, resume and test, with our tools and mmseg's."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmseg.datasets import PascalVOCDataset
from mmseg.registry import DATASETS as MMSEG_DATASETS
from mmseg.registry import MODELS as TTA
from PIL import Image
from segmentation_place import (
    MMSEG_TOOLS,
    as_options,
    figures_of,
    read_split,
    write_embedded,
    write_labels,
)
from tiny_run import ROOT, without_slow_logging

from mmwsss.apis.launch import run_tool
from mmwsss.datasets.synthetic import SYNTHETIC_METAINFO

EMBEDDED = ROOT / 'configs/segmentation/deeplabv2_embedded.py'
VOC = ROOT / 'configs/segmentation/deeplabv2_r101_voc_acr.py'
VOC_CLASSES = list(PascalVOCDataset.METAINFO['classes'])
CLASSES = list(SYNTHETIC_METAINFO['classes'])
ITERATIONS, STOP = 6, 3
SMALL = {
    'train_dataloader.batch_size': 2,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'train_cfg.max_iters': ITERATIONS,
    'param_scheduler.0.end': 2,
    'param_scheduler.1.begin': 2,
    'param_scheduler.1.end': ITERATIONS,
    'default_hooks.checkpoint.interval': STOP,
}


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A working directory where the embedded config finds its data unchanged."""
    place = tmp_path_factory.mktemp('place')
    write_embedded(place, train=12, val=1, test=6)
    return place


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    without_slow_logging(monkeypatch)
    monkeypatch.setenv('LOCAL_RANK', '0')


class PowerCut(Hook):
    priority = 'LOWEST'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == STOP:
            raise KeyboardInterrupt


def run(config, work_dir, *, options=None, stops=False):
    config = Config.fromfile(config)
    config.merge_from_dict(options or SMALL)
    config.work_dir = str(work_dir)
    config.experiment_name = f'segmentation_{os.getpid()}_{work_dir.name}'
    DefaultScope('mmwsss_test_segmentation', scope_name='mmseg')
    runner = Runner.from_cfg(config)
    if stops:
        runner.register_hook(PowerCut())
        with pytest.raises(KeyboardInterrupt):
            runner.train()
    else:
        runner.train()
    return runner


def call_tool(name, monkeypatch, *arguments):
    path = ROOT / f'tools/{name}.py'
    spec = importlib.util.spec_from_file_location(f'segmentation_{name}', path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
    run_tool(tool.main)


@pytest.fixture(scope='module')
def trained(place):
    """Checkpoint of a training that was never stopped."""
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        without_slow_logging(context)
        context.chdir(place)
        run(EMBEDDED, place / 'straight')
    return place / f'straight/iter_{ITERATIONS}.pth'


def test_resumed_training_is_the_same(place, trained, monkeypatch):
    monkeypatch.chdir(place)
    run(EMBEDDED, place / 'broken', stops=True)
    assert not (place / f'broken/iter_{ITERATIONS}.pth').exists()
    # Another number of workers on top: draws are counted.
    options = SMALL | {
        'train_dataloader.num_workers': 1,
        'experiment_name': f'resumed_{os.getpid()}',
    }
    folder = ['--work-dir', place / 'broken', '--resume']
    call_tool('train', monkeypatch, EMBEDDED, *folder, *as_options(options))
    one, other = (
        torch.load(path, weights_only=False, map_location='cpu')
        for path in (trained, place / f'broken/iter_{ITERATIONS}.pth')
    )
    stopped = torch.load(place / f'broken/iter_{STOP}.pth', weights_only=False)
    assert one['state_dict'].keys() == other['state_dict'].keys()
    assert one['meta']['iter'] == other['meta']['iter'] == ITERATIONS
    for name, weight in one['state_dict'].items():
        assert torch.equal(weight, other['state_dict'][name]), name
    states = [checkpoint['optimizer']['state'] for checkpoint in (one, other)]
    assert states[0].keys() == states[1].keys()
    for key, state in states[0].items():
        assert all(torch.equal(v, states[1][key][n]) for n, v in state.items())
    # The second half did move the weights.
    name = 'decode_head.branches.0.weight'
    assert not torch.equal(one['state_dict'][name], stopped['state_dict'][name])


def miou_of(predictions, data, names):
    """Mean over classes of intersection over union, from the written pictures."""
    intersection, union = np.zeros(len(CLASSES)), np.zeros(len(CLASSES))
    for name in names:
        truth = np.array(Image.open(data / f'SegmentationClass/{name}.png'))
        found = np.array(Image.open(predictions / f'{name}.png'))
        for c in range(len(CLASSES)):
            judged = truth != 255
            intersection[c] += (judged & (truth == c) & (found == c)).sum()
            union[c] += (judged & ((truth == c) | (found == c))).sum()
    return 100 * np.mean(intersection / union)


def test_mmsegs_tool_gives_our_figures(place, trained, monkeypatch):
    monkeypatch.chdir(place)
    options = {'experiment_name': f'tested_{os.getpid()}'}
    folder = ['--work-dir', place / 'ours', *as_options(options)]
    call_tool('test', monkeypatch, EMBEDDED, trained, *folder)
    command = [sys.executable, MMSEG_TOOLS / 'test.py', EMBEDDED, trained]
    folders = ['--work-dir', place / 'theirs', '--out', place / 'pictures']
    done = subprocess.run(
        [*map(str, command), *map(str, folders)],
        cwd=place,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ours, theirs = figures_of(place / 'ours'), figures_of(place / 'theirs')
    for name in ('mIoU', 'mAcc', 'aAcc'):
        assert ours[name] == theirs[name]
    data = place / 'data/synthetic'
    expected = miou_of(place / 'pictures', data, read_split(data, 'test'))
    assert ours['mIoU'] == pytest.approx(expected, abs=0.005)
    assert 0 < expected < 100


def test_tool_refuses_useless_labels(place, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(place)
    shutil.copytree(place / 'work_dirs/pseudo_labels/embedded', tmp_path / 'labels')
    manifest = json.loads((tmp_path / 'labels/labels.json').read_text())
    manifest['pixels_per_class'] = dict.fromkeys(CLASSES, 0) | dict(background=9)
    (tmp_path / 'labels/labels.json').write_text(json.dumps(manifest))
    options = SMALL | {
        'train_dataloader.dataset.label_root': tmp_path / 'labels',
        'experiment_name': f'refused_{os.getpid()}',
    }
    with pytest.raises(SystemExit) as stop:
        call_tool(
            'train',
            monkeypatch,
            EMBEDDED,
            *('--work-dir', tmp_path / 'work'),
            *as_options(options),
        )
    assert stop.value.code == 1
    assert 'no pixel is labelled as an object' in capfd.readouterr().err
    assert not list((tmp_path / 'work').glob('*.pth'))


def test_embedded_classes_are_the_generators():
    config = Config.fromfile(EMBEDDED)
    for loader in (config.train_dataloader, config.test_dataloader):
        metainfo = loader.dataset.metainfo
        assert tuple(metainfo.classes) == tuple(SYNTHETIC_METAINFO['classes'])
        assert metainfo.palette == SYNTHETIC_METAINFO['palette']
    assert config.model.decode_head.num_classes == len(CLASSES)


def voc_options(voc_root, label_root):
    loaders = ('train', 'val', 'test')
    return {
        **{f'{n}_dataloader.dataset.data_root': str(voc_root) for n in loaders},
        **{f'{n}_dataloader.num_workers': 0 for n in loaders},
        **{f'{n}_dataloader.persistent_workers': False for n in loaders},
        'train_dataloader.dataset.label_root': str(label_root),
        'train_dataloader.dataset.pipeline.4.crop_size': (33, 33),
        'train_dataloader.batch_size': 1,
        'train_cfg.max_iters': 1,
        'default_hooks.checkpoint.save_last': False,
        'model.data_preprocessor.size': (33, 33),
        'model.backbone.init_cfg': None,
    }


@pytest.fixture
def voc_runner(tmp_path, voc_root):
    """The VOC config after one step without official weights, and a validation."""
    masks = voc_root / 'SegmentationClass'
    names = [path.stem for path in masks.glob('*.png')]
    write_labels(tmp_path / 'pseudo', masks, names, VOC_CLASSES)
    manifest = json.loads((tmp_path / 'pseudo/labels.json').read_text())
    counts = manifest['pixels_per_class']
    options = voc_options(voc_root, tmp_path / 'pseudo') | {
        'train_dataloader.dataset.allow_absent': [n for n in counts if not counts[n]]
    }
    return run(VOC, tmp_path / 'voc', options=options)


def test_voc_config_trains_and_tests(voc_runner):
    groups = voc_runner.optim_wrapper.optimizer.param_groups
    rates = {round(group['initial_lr'], 9) for group in groups}
    assert rates == {2.5e-4, 2.5e-3}
    head = set(map(id, voc_runner.model.decode_head.parameters()))
    for group in groups:
        is_head = all(id(weight) in head for weight in group['params'])
        assert group['initial_lr'] == pytest.approx(2.5e-3 if is_head else 2.5e-4)
    with torch.no_grad():
        features = voc_runner.model.backbone(torch.zeros(1, 3, 65, 65))
    assert [tuple(f.shape) for f in features] == [(1, 2048, 9, 9)]
    assert 0 <= voc_runner.message_hub.get_scalar('val/mIoU').current() <= 100


def test_voc_config_averages_scales_and_flips(voc_runner):
    """What mmseg's test tool does with --tta, on two of the six scales."""
    config = voc_runner.cfg
    dataset = config.test_dataloader.dataset
    dataset.pipeline = config.tta_pipeline
    dataset.pipeline[1].transforms[0] = dataset.pipeline[1].transforms[0][1:3]
    model = TTA.build(dict(**config.tta_model, module=voc_runner.model)).eval()
    item = MMSEG_DATASETS.build(dataset)[0]
    assert len(item['inputs']) == 4
    batch = {key: [[value] for value in values] for key, values in item.items()}
    (sample,) = model.test_step(batch)
    assert sample.pred_sem_seg.data.shape == sample.gt_sem_seg.data.shape
