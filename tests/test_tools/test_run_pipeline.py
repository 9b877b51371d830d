"""The whole chain with the real tools, undisturbed and killed in each stage.

The tools run in processes forked from this one, which has imported all they need; a
kill is a kill. tools/analysis/pipeline_resume_study.py does the same with whole process
groups and at more moments.
"""

import importlib
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from pseudo_label_run import files_of
from tiny_run import ROOT, without_slow_logging

from mmwsss.apis import pipeline as module
from mmwsss.apis import pseudo_labels  # noqa: F401 (imported before the forks)
from mmwsss.apis.pipeline import Pipeline, StageError
from mmwsss.apis.pipeline_stages import StageBuilder
from mmwsss.utils.checkpoint import find_checkpoint, read_checkpoint
from mmwsss.utils.digests import digest_tensors

for name in ('mmseg.models', 'mmseg.visualization', 'mmpretrain.evaluation'):
    importlib.import_module(name)  # so that no fork has to

TOOL = ROOT / 'tools/run_pipeline.py'
PATIENCE = 120
FOREGROUND = ['torch', 'brush', 'camera', 'radio', 'cactus', 'beetle']
ALONE = dict(num_workers=0, persistent_workers=False)
CONFIG = dict(
    data=dict(synthetic=dict(seed=0, train=12, val=3, test=3)),
    classifier=dict(
        config=str(ROOT / 'configs/acr/hybrid_embedded.py'),
        options={
            'train_dataloader.batch_size': 4,
            'train_cfg.max_epochs': 2,
            'train_cfg.val_interval': 1,
            'param_scheduler.0.end': 3,
            'default_hooks.logger.interval': 1,
            'model.backbone.arch.embed_dim': 24,
        },
    ),
    labels=dict(refiner='threshold'),
    segmentor=dict(
        config=str(ROOT / 'configs/segmentation/deeplabv2_embedded.py'),
        options={
            'train_dataloader.batch_size': 4,
            'train_dataloader': ALONE,
            'test_dataloader': ALONE,
            'train_dataloader.dataset.allow_absent': FOREGROUND,
            'train_cfg.max_iters': 4,
            'param_scheduler.0.end': 2,
            'param_scheduler.1.begin': 2,
            'param_scheduler.1.end': 4,
            'default_hooks.checkpoint.interval': 2,
        },
    ),
)
REFINED = CONFIG | dict(
    refinement=dict(
        config=str(ROOT / 'configs/refinement/irn_embedded.py'),
        options={
            'train_dataloader.batch_size': 4,
            'train_dataloader': ALONE,
            'train_dataloader.dataset.allow_absent': FOREGROUND,
            'train_cfg.max_epochs': 2,
        },
        labels=dict(
            type='threshold', background_threshold=0.2, foreground_threshold=0.4
        ),
    ),
    labels=dict(refiner=dict(type='irn', steps=16)),
)
NO_MASKS = dict(test_dataloader=None, test_evaluator=None, test_cfg=None)
NO_VALIDATION = dict(val_dataloader=None, val_evaluator=None, val_cfg=None)


def run_forked(arguments, stdout, kill_at):
    """Run a tool in a fork, and kill it once the file ``kill_at`` is there."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.dup2(stdout.fileno(), 1)
            os.dup2(stdout.fileno(), 2)
            sys.stdout = sys.stderr = os.fdopen(1, 'w', closefd=False)
            torch.set_num_threads(1)
            cv2.setNumThreads(0)
            sys.argv = list(arguments)
            runpy.run_path(arguments[0], run_name='__main__')
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
        finally:
            sys.stdout.flush()
            os._exit(status)
    end = time.monotonic() + PATIENCE
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end or (kill_at and kill_at.exists()):
            os.kill(child, signal.SIGKILL)
            kill_at = None
        time.sleep(0.002)


@pytest.fixture
def forking(monkeypatch):
    """Make pipelines fork their tools; the list takes files to kill at, in turn."""
    kills = []

    def run(line, *, stdout, stderr, env, pass_fds, check):
        assert line[0] == sys.executable
        assert Path(line[1]).is_file()
        kill_at = kills[0] if kills else None
        status = run_forked(line[1:], stdout, kill_at)
        if status == -signal.SIGKILL:
            kills.pop(0)
        return SimpleNamespace(returncode=status)

    without_slow_logging(monkeypatch)
    # every data set would collect what this process has imported
    monkeypatch.setattr('mmengine.dataset.base_dataset.gc.collect', lambda: 0)
    monkeypatch.setenv('LOCAL_RANK', '0')
    stand_in = SimpleNamespace(run=run, STDOUT=subprocess.STDOUT)
    monkeypatch.setattr(module, 'subprocess', stand_in)
    return kills


def pipeline_of(work_dir, config=CONFIG):
    return Pipeline(StageBuilder(Config(config), work_dir).build(), work_dir)


def checkpoints_of(work_dir):
    found = {}
    for name in ('classifier', 'segmentor'):
        whole = read_checkpoint(find_checkpoint(work_dir / name))
        found |= {f'{name} {key}': w for key, w in whole['state_dict'].items()}
        for index, state in whole['optimizer']['state'].items():
            found |= {f'{name} {index} {key}': w for key, w in state.items()}
    return found


def assert_same_results(one, other):
    for folder in ('data', 'labels'):
        expected, found = files_of(one / folder), files_of(other / folder)
        assert len(expected) > 15
        assert found == expected
    for name in ('seeds/metrics.json', 'test/metrics.json', 'seeds/seed_histogram.npz'):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    expected, found = checkpoints_of(one), checkpoints_of(other)
    assert found.keys() == expected.keys()
    assert len(expected) > 200
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_chain_and_the_same_killed_in_each_stage(forking, tmp_path):
    straight, killed = tmp_path / 'straight', tmp_path / 'killed'
    ended = {}
    pipeline_of(straight).run(on_end=lambda s, record: ended.update({s.name: record}))
    assert list(ended) == [stage.name for stage in pipeline_of(straight).stages]
    assert 0 <= ended['seeds'].quality['multi-label/mAP'] <= 100
    assert 0 < ended['seeds'].quality['seed/mIoU_best'] <= 100
    assert 0 <= ended['labels'].quality['undecided'] < 100
    assert 0 <= ended['test'].quality['mIoU'] <= 100
    assert pipeline_of(straight).plan() == []

    forking += [
        killed / 'data/JPEGImages/train_00006.jpg',
        killed / 'classifier/epoch_1.pth',
        killed / 'labels/seeds/train_00004.seed',
        killed / 'labels/labels/train_00004.png',
        killed / 'segmentor/iter_2.pth',
        killed / 'test/segmentor.py',
    ]
    for name in ('data', 'classifier', 'seeds', 'labels', 'segmentor', 'test'):
        with pytest.raises(StageError, match=f'stage {name} was killed by signal 9'):
            pipeline_of(killed).run()
        tear(killed / name)
    pipeline_of(killed).run()
    assert not forking
    assert_same_results(straight, killed)


def test_a_refinement_network_killed_in_each_of_its_stages(forking, tmp_path):
    straight, killed = tmp_path / 'straight', tmp_path / 'killed'
    pipeline_of(straight, REFINED).run(until='seeds')
    shutil.copytree(straight, killed)
    pipeline_of(straight, REFINED).run(until='labels')
    forking += [
        killed / 'affinity_labels/labels/train_00004.png',
        killed / 'refinement/epoch_1.pth',
        killed / 'labels/labels/train_00004.png',
    ]
    for name in ('affinity_labels', 'refinement', 'labels'):
        with pytest.raises(StageError, match=f'stage {name} was killed by signal 9'):
            pipeline_of(killed, REFINED).run(until='labels')
        tear(killed / name)
    pipeline_of(killed, REFINED).run(until='labels')
    assert not forking
    for folder in ('affinity_labels', 'labels'):
        assert files_of(killed / folder) == files_of(straight / folder)
    made = [
        read_checkpoint(find_checkpoint(path / 'refinement'))['state_dict']
        for path in (straight, killed)
    ]
    assert made[0].keys() == made[1].keys()
    assert all(torch.equal(weight, made[1][key]) for key, weight in made[0].items())
    manifests = [
        json.loads((straight / f'{name}/labels.json').read_text())
        for name in ('affinity_labels', 'labels')
    ]
    assert manifests[0]['seeds'] == manifests[1]['seeds']
    assert manifests[0]['refiner']['type'] == 'ThresholdRefiner'
    assert manifests[0]['ignored_pixels'] > 0
    assert manifests[1]['refiner']['weights'] == digest_tensors(made[0])
    assert str(tmp_path) not in json.dumps(manifests)


def tear(folder):
    """Cut the newest checkpoint short, as a kill amid its writing does."""
    if (folder / 'epoch_1.pth').exists():
        os.truncate(folder / 'epoch_1.pth', 1000)
    if (folder / 'iter_2.pth').exists():
        (folder / 'last_checkpoint').write_text('')


def test_chain_without_masks(forking, tmp_path):
    """Masks are for measuring: without any, a segmentor is trained all the same."""
    data, work = tmp_path / 'data', tmp_path / 'work'
    command = pipeline_of(tmp_path, CONFIG).stages[0].commands[0]
    with (tmp_path / 'log').open('w') as log:
        assert run_forked((str(ROOT / command[0]), *command[1:]), log, None) == 0
    shutil.rmtree(data / 'SegmentationClass')
    parts = {name: dict(CONFIG[name]) for name in ('classifier', 'segmentor')}
    for name, part in parts.items():
        none = NO_MASKS | (NO_VALIDATION if name == 'classifier' else {})
        part['options'] = {
            key: value
            for key, value in part['options'].items()
            if not key.startswith('test_dataloader')
        } | none
    pipeline_of(work, dict(CONFIG, data=dict(root=str(data)), **parts)).run()
    assert find_checkpoint(work / 'segmentor').name == 'iter_4.pth'
    labels = sorted((work / 'labels/labels').glob('*.png'))
    assert len(labels) == 12
    assert Image.open(labels[0]).mode == 'P'


# ---------------------------------------------------------------- the command line


def call(monkeypatch, capfd, *arguments):
    """Run the tool in this process; return its exit code and what it printed."""
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
    code = 0
    try:
        runpy.run_path(str(TOOL), run_name='__main__')
    except SystemExit as stop:
        code = stop.code
    printed = capfd.readouterr()
    return code, printed.out, printed.err


@pytest.fixture
def cli(monkeypatch, capfd, tmp_path):
    path = tmp_path / 'tiny.py'
    path.write_text('\n'.join(f'{key} = {part!r}' for key, part in CONFIG.items()))

    def cli(*arguments, config=path):
        place = ('--work-dir', tmp_path / 'work')
        return call(monkeypatch, capfd, config, *place, *arguments)

    return cli


def test_stage_table_and_until(forking, cli, tmp_path):
    code, out, _ = cli('--until', 'data')
    assert code == 0
    rows = [line.split('│')[1:4] for line in out.splitlines() if '│' in line]
    rows = {name.strip(): figures.strip() for name, _, figures in rows}
    assert rows == {'data': ''} | dict.fromkeys(
        ('classifier', 'seeds', 'labels', 'segmentor', 'test'), 'not run'
    )
    record = json.loads((tmp_path / 'work/stages/data.json').read_text())
    assert record['seconds'] > 0
    code, out, err = cli('--cfg-options', 'data.synthetic.seed=1')
    assert (code, out) == (1, '')
    assert 'ArtefactError' in err
    assert 'stage data was made with other settings' in err


def test_dry_run_prints_the_commands_and_runs_nothing(cli, tmp_path):
    code, out, _ = cli('--dry-run', '--from', 'seeds', '--until', 'labels')
    assert code == 0
    assert out.count('\n') == 5  # data, classifier, two of seeds, labels
    assert f'{ROOT}/tools/train.py {tmp_path}/work/configs/classifier.py' in out
    assert list((tmp_path / 'work').iterdir()) == []


def test_a_failing_tool_leaves_its_last_words(forking, cli, tmp_path):
    code, _, err = cli('--cfg-options', 'data.synthetic.size=9', '--until', 'data')
    assert code == 1
    assert err.splitlines()[-2] == 'ConfigError: size: expected at least 32, got 9'
    assert err.splitlines()[-1].startswith('StageError: stage data failed with exit')
    assert f'{tmp_path}/work/logs/data.log' in err


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--from', 'train'], "no stage 'train'; stages are data, classifier"),
        (['--until', 'train', '--dry-run'], "no stage 'train'"),
        (['--cfg-options', 'labels.refinr=pamr'], 'has no setting refinr'),
        (['--cfg-options', 'clasifier.processes=2'], 'has no setting clasifier'),
        (
            ['--cfg-options', 'classifier.options.optim_wraper.type=Wrapper'],
            "did you mean 'optim_wrapper'?",
        ),
    ],
)
def test_mistakes_on_the_command_line(cli, tmp_path, arguments, message):
    code, _, err = cli(*arguments)
    assert code == 1
    assert err.startswith('ConfigError: ')
    assert err.count('\n') == 1
    assert message in err
    assert not (tmp_path / 'work/stages').exists()


def test_missing_config_and_unwritable_folder(cli, tmp_path):
    assert 'no config ' in cli(config=tmp_path / 'absent.py')[2]
    (tmp_path / 'work').touch()
    assert f'work directory {tmp_path}/work cannot be written' in cli()[2]


def test_time_left_is_what_the_stage_has_logged_last(tmp_path):
    tool, log = runpy.run_path(str(TOOL)), tmp_path / 'classifier.log'
    assert tool['time_left'](log) is None
    log.write_text('Epoch(train) [1][10/60]  lr: 1e-2  eta: 0:00:20  time: 0.1\n')
    before = log.stat().st_size
    column, task = tool['StageLeft'](), SimpleNamespace(finished=False)
    assert str(column.render(task)) == ''
    column.begin(log)
    # a line of an earlier run counts for nothing
    assert str(column.render(task)) == '0:00:00'
    with log.open('a') as file:
        file.write('eta: 1 day, 2:00:00\n' + 'x' * 10_000 + '\n')
    assert tool['time_left'](log, before) is None  # too far from the end
    with log.open('a') as file:
        file.write('eta: 1 day, 2:00:00  x\neta: 0:03:20  time: 1\nsaved\n')
    assert str(column.render(task)) == '0:00:00, 0:03:20 left'
    task.finished = True
    assert str(column.render(task)) == ''
