"""The study tool on a few generated images: trained, stopped, resumed, failed."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from mmengine.runner import Runner
from tiny_run import ROOT, without_slow_logging

from mmwsss.apis import study_runs
from mmwsss.apis.study import collect, forget_failures, progress_of
from mmwsss.apis.study_plan import read_study
from mmwsss.apis.study_records import FAILURE
from mmwsss.apis.study_report import study_table
from mmwsss.apis.study_runs import work
from mmwsss.datasets.synthetic import SyntheticSettings, write_synthetic
from mmwsss.utils.errors import ArtefactError

EMBEDDED = sorted((ROOT / 'configs/studies/embedded').glob('*.py'))
TEXT = """
title = 'Two weights'
budget = '2 epochs of 8 generated images'
baseline = 'without'
config = 'configs/acr/hybrid_embedded.py'
seeds = [0, 1]
figures = ['seed/mIoU_best', 'seed/mIoU_fixed', 'multi-label/mAP']
options = {options!r}
splits = {{
    name: {{
        'test_dataloader.dataset.ann_file': f'ImageSets/Segmentation/{{name}}.txt',
        'test_dataloader.dataset.tag_file': (
            f'ImageSets/Segmentation/{{name}}_tags.txt'
        ),
    }}
    for name in ('val', 'test')
}}
threshold_from = 'val'
cells = [
    dict(label='without', options={{'model.consistency.alpha': 0.0}}),
    dict(label='with'),
]
"""


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('generated')
    write_synthetic(folder, SyntheticSettings(seed=0, train=8, val=2, test=2))
    return folder


@pytest.fixture
def options(data):
    roots = {
        f'{name}_dataloader.dataset.data_root': str(data)
        for name in ('train', 'test', 'seed')
    }
    return {
        **roots,
        'val_dataloader': None,
        'val_evaluator': None,
        'val_cfg': None,
        'train_dataloader.batch_size': 4,
        'train_cfg.max_epochs': 2,
        'default_hooks.logger.interval': 1,
        'default_hooks.checkpoint.interval': 1,
    }


@pytest.fixture
def path(tmp_path, options):
    path = tmp_path / 'weights.py'
    path.write_text(TEXT.format(options=options))
    return path


@pytest.fixture
def quick(monkeypatch):
    without_slow_logging(monkeypatch)
    monkeypatch.setenv('LOCAL_RANK', '0')


def tool(path, work_dir, *arguments):
    return subprocess.Popen(
        [sys.executable, str(ROOT / 'tools/study.py'), str(path)]
        + ['--work-dir', str(work_dir), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {'OMP_NUM_THREADS': '1'},
        cwd=work_dir.parent,
    )


def test_tool_fills_its_table(path, tmp_path):
    work_dir = tmp_path / 'study'
    process = tool(path, work_dir, '--jobs', '2', '--device', 'cpu')
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text
    text = text.replace('\n', ' ')
    assert 'finished, 4 of 4 runs' in text
    assert all(f'{name}/seed_1: finished' in text for name in ('with', 'without'))
    table = json.loads((work_dir / 'study.json').read_text())
    assert table['runs'] == dict(finished=4, total=4)
    for split in ('val', 'test'):
        entry = table['splits'][split]['with']['seed/mIoU_best']
        assert entry['count'] == entry['difference']['count'] == 2
    assert table['cells']['with']['cost']['parameters'] > 0
    for name in ('study.md', 'seeds.png', 'curves.png', 'logs/job_1.log'):
        assert (work_dir / name).stat().st_size > 0
    assert not list(work_dir.rglob('*.pth'))
    # again: nothing is left to do, no process begins
    (work_dir / 'study.json').unlink()
    logs = {log: log.read_bytes() for log in (work_dir / 'logs').iterdir()}
    process = tool(path, work_dir, '--jobs', '3')
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text
    assert {log: log.read_bytes() for log in (work_dir / 'logs').iterdir()} == logs
    assert json.loads((work_dir / 'study.json').read_text()) == table


def test_figures_are_those_of_the_runner(path, tmp_path, quick):
    study = read_study(path, seeds=[1], only=['without'])
    work(study, tmp_path / 'study')
    ((run, record),) = collect(study, tmp_path / 'study').items()
    config = study.config_of(run)
    config.work_dir, config.experiment_name = str(tmp_path / 'alone'), 'alone'
    config.test_dataloader.dataset.update(
        study.tests()[0].config(config).test_dataloader.dataset
    )
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.test() == record.figures['val']
    # the threshold that was best on the first split, fixed on the second
    curve = json.loads(
        (tmp_path / f'study/{run.name}/test/seed_curve.json').read_text()
    )
    threshold = record.figures['val']['seed/threshold_best']
    position = curve['thresholds'].index(threshold)
    fixed = record.figures['test']['seed/mIoU_fixed']
    assert fixed == pytest.approx(curve['curves']['mIoU'][position])
    assert 'seed/mIoU_fixed' not in record.figures['val']


def test_a_stopped_study_goes_on(path, tmp_path, quick, monkeypatch):
    study = read_study(path, seeds=[0], only=['without'])
    (run,) = study.runs()
    undisturbed, stopped = tmp_path / 'undisturbed', tmp_path / 'stopped'
    work(study, undisturbed)
    note = study_runs._ProgressHook.after_train_iter

    def stop(self, runner, *arguments, **named):
        note(self, runner, *arguments, **named)
        if runner.iter == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(study_runs._ProgressHook, 'after_train_iter', stop)
        with pytest.raises(KeyboardInterrupt):
            work(study, stopped)
    assert collect(study, stopped) == {}
    assert progress_of(study, stopped).running.keys() == {run.name}
    assert (stopped / run.name / 'training/epoch_1.pth').exists()
    iterations = []
    monkeypatch.setattr(
        study_runs._ProgressHook,
        'before_train_iter',
        lambda self, runner, *a, **k: iterations.append(runner.iter),
    )
    work(study, stopped)
    assert iterations == [2, 3]
    found, expected = (collect(study, f)[run] for f in (stopped, undisturbed))
    assert found.figures == expected.figures


def test_other_settings_do_not_go_on(path, tmp_path, quick):
    study = read_study(path, seeds=[0], only=['without'])
    work(study, tmp_path / 'study')
    other = read_study(
        path, seeds=[0], only=['without'], options={'model.consistency.beta': 3.0}
    )
    with pytest.raises(ArtefactError, match='made with other settings'):
        work(other, tmp_path / 'study')
    (tmp_path / 'study' / study.runs()[0].name / 'record.json').unlink()
    work(other, tmp_path / 'study')
    text = (tmp_path / 'study' / study.runs()[0].name / FAILURE).read_text()
    assert 'begun with other settings' in text


def test_a_failed_run_costs_no_other(path, tmp_path, quick):
    """The first cell asks its optimizer for what it does not know."""
    text = path.read_text().replace(
        "{'model.consistency.alpha': 0.0}", "{'optim_wrapper.optimizer.lrr': 1}"
    )
    path.write_text(text)
    study = read_study(path, seeds=[0])
    work(study, tmp_path / 'study')
    failed, finished = study.runs()
    assert progress_of(study, tmp_path / 'study').failed == (failed.name,)
    assert list(collect(study, tmp_path / 'study')) == [finished]
    assert 'lrr' in (tmp_path / 'study' / failed.name / FAILURE).read_text()
    forget_failures(study, tmp_path / 'study')
    assert progress_of(study, tmp_path / 'study').failed == ()


def test_variants_measure_the_same_weights(path, tmp_path, quick):
    path.write_text(
        path.read_text()
        + "variants = {n: {'model.localization.affinity': n == 'spread'} "
        "for n in ('spread', 'plain')}"
    )
    study = read_study(path, seeds=[0], only=['without'])
    work(study, tmp_path / 'study')
    records = collect(study, tmp_path / 'study')
    ((run, figures),) = ((run, record.figures) for run, record in records.items())
    names = ['test, plain', 'test, spread', 'val, plain', 'val, spread']
    assert sorted(figures) == names
    rows = study_table(study, records)['splits']
    assert sorted(rows) == names
    for name, measured in figures.items():
        mean = rows[name][run.cell.label]['seed/mIoU_best']['mean']
        assert mean == measured['seed/mIoU_best']
    spread, plain = figures['test, spread'], figures['test, plain']
    assert spread['multi-label/mAP'] == plain['multi-label/mAP']
    assert spread['seed/mIoU_best'] != plain['seed/mIoU_best']


@pytest.mark.parametrize('path', EMBEDDED, ids=lambda path: path.stem)
def test_a_cell_of_each_study_on_the_embedded_data(path, tmp_path, quick, options):
    """The last cell in its last variant, shortened."""
    few = options | {'train_cfg.max_epochs': 1}
    study = read_study(path, options=few, seeds=[0])
    variants = dict(list(study.variants.items())[-1:])
    study = replace(study, cells=study.cells[-1:], variants=variants)
    work(study, tmp_path)
    failures = [p.read_text()[-800:] for p in tmp_path.rglob(FAILURE)]
    assert not failures, failures[0]
    (record,) = collect(study, tmp_path).values()
    assert all('seed/mIoU_best' in figures for figures in record.figures.values())
