"""Studies: plan, statistics, records, tables."""

import json
import math
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from mmwsss.apis.study import (
    collect,
    environment_of,
    forget_failures,
    progress_of,
    run_study,
)
from mmwsss.apis.study_plan import Cell, Study, StudyRun, read_study
from mmwsss.apis.study_records import (
    FAILURE,
    PROGRESS,
    RECORD,
    RunRecord,
    claimed,
    read_record,
)
from mmwsss.apis.study_report import study_table, table_text, write_study
from mmwsss.apis.study_statistics import (
    Summary,
    paired_difference,
    summarize,
    time_left,
)
from mmwsss.utils.errors import ArtefactError, ConfigError

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / 'configs/studies').rglob('*.py'))
CONFIG = 'configs/acr/hybrid_embedded.py'

# ---------------------------------------------------------------------- statistics


def test_summary_is_that_of_the_statistics_module():
    values = {0: 41.5, 1: 44.25, 2: 40.0, 7: 43.75}
    summary = summarize(values)
    assert summary.mean == statistics.mean(values.values()) == 42.375
    assert summary.deviation == statistics.stdev(values.values())
    assert summary.error == pytest.approx(summary.deviation / 2)
    assert summary.count == 4


def test_difference_is_that_of_a_paired_t_test():
    ours, base = {0: 45.0, 1: 47.0, 2: 46.5}, {0: 44.0, 1: 44.5, 2: 45.0}
    found = paired_difference(ours, base)
    # by hand: 1, 2.5, 1.5; mean 5/3, squared deviations 4/9 + 25/36 + 1/36 = 7/6
    assert found.mean == pytest.approx(5 / 3)
    assert found.error == pytest.approx(math.sqrt(7 / 6 / 2 / 3))
    scipy = pytest.importorskip('scipy.stats')
    t = scipy.ttest_rel(list(ours.values()), list(base.values())).statistic
    assert found.mean / found.error == pytest.approx(t)


def test_differences_may_be_certain_where_spreads_are_wide():
    base = {seed: 40.0 + 5 * seed for seed in range(3)}
    found = paired_difference({s: v + 1 for s, v in base.items()}, base)
    assert (found.mean, found.error) == (1.0, 0.0)


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        ({}, None),
        ({0: math.nan}, None),
        ({0: 2.0}, Summary(2.0, None, 1)),
        ({0: 2.0, 1: math.nan}, Summary(2.0, None, 1)),
    ],
)
def test_summary_of_few(values, expected):
    assert summarize(values) == expected


def test_no_seed_in_common():
    assert paired_difference({0: 1.0}, {1: 2.0}) is None
    assert Summary(1.0, None, 1).error is None


def test_time_left():
    assert time_left(0, 4, 10.0) is None
    assert time_left(1.5, 6, 30.0) == 90.0


# ---------------------------------------------------------------------------- plan


def write(folder, text):
    path = folder / 'study.py'
    path.write_text(text)
    return path


TEXT = f"""
title = 'T'
budget = 'B'
baseline = 'a'
config = {CONFIG!r}
seeds = [3, 5]
figures = ['seed/mIoU_best', 'multi-label/mAP']
options = {{'model.consistency.alpha': 1.0, 'model.consistency.beta': 2.0}}
cells = [dict(label='a'), dict(label='b + c', options=dict(model=dict(
    consistency=dict(alpha=7.0))))]
"""
SPLITS = """
splits = {n: {'test_dataloader.dataset.ann_file': f'{n}.txt'} for n in ('m', 'r')}
threshold_from = 'm'
"""
VARIANTS = "variants = {n: {'model.localization.kind': n} for n in ('grad', 'grad_s')}"


@pytest.mark.parametrize('path', STUDIES, ids=lambda path: path.stem)
def test_every_study_can_be_read(path):
    study = read_study(path)
    assert len(study.seeds) >= 3
    assert study.budget
    assert 'seed/mIoU_best' in study.figures
    voc = 'embedded' not in path.parts
    assert (study.threshold_from == 'train_mini') == voc
    for run in study.runs()[: len(study.cells)]:
        config = study.config_of(run)
        assert config.val_dataloader is None
        assert ('Synthetic' in config.train_dataloader.dataset.type) != voc


def test_every_study_has_its_embedded_twin():
    own = {path.name for path in STUDIES if path.parent.name == 'studies'}
    assert own == {path.name for path in STUDIES if path.parent.name == 'embedded'}


def test_runs_go_seed_by_seed(tmp_path):
    runs = read_study(write(tmp_path, TEXT)).runs()
    assert [run.name for run in runs] == [
        'a/seed_3',
        'b-c/seed_3',
        'a/seed_5',
        'b-c/seed_5',
    ]


def test_nearer_options_win(tmp_path):
    path = write(tmp_path, TEXT)
    study = read_study(path, options={'model.consistency.beta': 9.0}, seeds=[4])
    found = [study.config_of(run).model.consistency for run in study.runs()]
    assert [(c.alpha, c.beta) for c in found] == [(1.0, 9.0), (7.0, 9.0)]
    assert study.config_of(study.runs()[0]).randomness.seed == 4


def test_a_study_stands_over_its_protocol(tmp_path):
    protocol = tmp_path / 'protocol.py'
    protocol.write_text(
        "seeds = [1]\nbudget = 'protocol'\n"
        "options = {'model.consistency.beta': 5.0, 'val_cfg': None}"
    )
    text = TEXT.replace("budget = 'B'", f'protocol = {str(protocol)!r}')
    study = read_study(write(tmp_path, text))
    assert (study.budget, study.seeds) == ('protocol', (3, 5))
    config = study.config_of(study.runs()[0])
    assert config.model.consistency.beta == 2.0
    assert config.val_cfg is None


def test_baseline_joins_the_chosen_cells(tmp_path):
    path = write(tmp_path, TEXT)
    assert [c.label for c in read_study(path, only=['b + c']).cells] == ['a', 'b + c']
    assert [c.label for c in read_study(path, only=['a']).cells] == ['a']


def test_measurements(tmp_path):
    (test,) = read_study(write(tmp_path, TEXT)).tests()
    assert (test.name, test.options, test.threshold_from) == ('test', {}, '')
    tests = read_study(write(tmp_path, TEXT + SPLITS)).tests()
    assert [(t.name, t.threshold_from) for t in tests] == [('m', ''), ('r', 'm')]
    study = read_study(write(tmp_path, TEXT + SPLITS + VARIANTS))
    assert [(t.name, t.folder, t.threshold_from) for t in study.tests()] == [
        ('m, grad', 'm-grad', ''),
        ('r, grad', 'r-grad', 'm, grad'),
        ('m, grad_s', 'm-grad_s', ''),
        ('r, grad_s', 'r-grad_s', 'm, grad_s'),
    ]
    config = study.config_of(study.runs()[0])
    changed = study.tests()[3].config(config)
    assert changed.model.localization.kind == 'grad_s'
    assert changed.test_dataloader.dataset.ann_file == 'r.txt'
    assert 'kind' not in config.model.localization


def test_digest_is_of_all_that_decides_figures(tmp_path):
    def digests(text):
        study = read_study(write(tmp_path, text))
        return [study.digest_of(run) for run in study.runs()]

    first = digests(TEXT)
    assert len(set(first)) == 4
    assert digests(TEXT.replace("'T'", "'other'").replace('b + c', 'd')) == first
    for other in (TEXT + SPLITS, TEXT.replace('alpha=7.0', 'alpha=8.0')):
        assert digests(other)[1] != first[1]


@pytest.mark.parametrize(
    ('old', 'new', 'parts'),
    [
        ("title = 'T'\n", '', ['lacks title']),
        ("title = 'T'", "titel = 'T'", ['no setting titel', 'title']),
        ("dict(label='a')", "dict(label='a', sead=1)", ['no setting sead']),
        ("dict(label='a')", "dict(name='a')", ['no setting name']),
        ("label='b + c'", "label='A'", ['share the name a']),
        ("baseline = 'a'", "baseline = 'z'", ['no cell z', 'a, b + c']),
        ('seeds = [3, 5]', 'seeds = [3, 3]', ['seeds must be distinct', '[3, 3]']),
        ('seeds = [3, 5]', 'seeds = []', ['seeds must be distinct']),
        ("'model.consistency.alpha'", "'modell.x'", ["'modell'", "'model'"]),
        (CONFIG, 'configs/absent.py', ['no config at configs/absent.py']),
        (f'config = {CONFIG!r}', '', ['a cell needs a label and a config']),
        ("'B'", "'B'\nthreshold_from = 'm'", ["threshold_from='m'", 'test']),
        ("'B'", "'B'\nvariants = {'v': {'modell.x': 1}}", ["'modell'"]),
    ],
)
def test_unusable_config(tmp_path, old, new, parts):
    assert old in TEXT
    with pytest.raises(ConfigError) as caught:
        read_study(write(tmp_path, TEXT.replace(old, new)))
    assert all(part in str(caught.value) for part in parts)


def test_absent_study_and_unknown_cell(tmp_path):
    with pytest.raises(ConfigError, match='no config at .*absent.py'):
        read_study(tmp_path / 'absent.py')
    with pytest.raises(ConfigError, match='no cell z'):
        read_study(write(tmp_path, TEXT), only=['z'])


# ------------------------------------------------------------------------- records


def finish(folder, inputs, **figures):
    folder.mkdir(parents=True, exist_ok=True)
    record = dict(inputs=inputs, figures=figures, cost={}, device='CPU')
    (folder / RECORD).write_text(json.dumps(record))


def test_record(tmp_path):
    assert read_record(tmp_path, 'i') is None
    finish(tmp_path, 'i', test={'x': 1.0})
    assert read_record(tmp_path, 'i').figures == {'test': {'x': 1.0}}
    with pytest.raises(ArtefactError, match='made with other settings'):
        read_record(tmp_path, 'other')
    (tmp_path / RECORD).write_text('{"inputs"')
    with pytest.raises(ArtefactError, match='damaged'):
        read_record(tmp_path, 'i')


def test_a_run_is_claimed_once(tmp_path):
    with claimed(tmp_path / 'run') as ours, claimed(tmp_path / 'run') as theirs:
        assert ours and not theirs
    with claimed(tmp_path / 'run') as ours:
        assert ours


def test_progress(tmp_path):
    study = read_study(write(tmp_path, TEXT))
    first, second, third, _ = study.runs()
    finish(tmp_path / first.name, study.digest_of(first))
    for run, name, text in (
        (second, FAILURE, 'trace'),
        (second, PROGRESS, '{"done": 0.9}'),
        (third, PROGRESS, '{"done": 0.25}'),
        (first, PROGRESS, '{"done": 0.5}'),
    ):
        (tmp_path / run.name).mkdir(parents=True, exist_ok=True)
        (tmp_path / run.name / name).write_text(text)
    found = progress_of(study, tmp_path)
    assert (found.done, found.total) == (1.25, 4)
    assert (found.finished, found.failed) == ((first.name,), (second.name,))
    assert found.running == {third.name: 0.25}
    assert list(collect(study, tmp_path)) == [first]
    (tmp_path / third.name / PROGRESS).write_text('{"do')
    assert progress_of(study, tmp_path).running == {}
    with claimed(tmp_path / second.name):
        forget_failures(study, tmp_path)
    assert progress_of(study, tmp_path).failed
    forget_failures(study, tmp_path)
    assert not progress_of(study, tmp_path).failed


def test_environment_of_jobs(monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '7')
    monkeypatch.setattr('os.cpu_count', lambda: 16)
    seen = [
        environment_of(job, jobs=5, device='0,2')['CUDA_VISIBLE_DEVICES']
        for job in range(3)
    ]
    assert seen == ['0', '2', '0']
    assert environment_of(0, jobs=5, device='cpu')['CUDA_VISIBLE_DEVICES'] == ''
    assert environment_of(0, jobs=5, device='auto')['CUDA_VISIBLE_DEVICES'] == '7'
    assert environment_of(0, jobs=5, device='auto')['OMP_NUM_THREADS'] == '3'
    assert environment_of(0, jobs=99, device='auto')['OMP_NUM_THREADS'] == '1'
    assert environment_of(0, jobs=1, device='cpu')['MALLOC_MMAP_MAX_'] == '0'
    monkeypatch.setenv('MALLOC_MMAP_MAX_', '9')
    assert environment_of(0, jobs=1, device='cpu')['MALLOC_MMAP_MAX_'] == '9'


def test_processes_are_ended_when_the_time_is_up(tmp_path):
    study = read_study(write(tmp_path, TEXT))
    seen = []
    sleep = "import sys, time; print('begun', flush=True); time.sleep(60)"
    done = run_study(
        study,
        tmp_path,
        ['-c', sleep],
        jobs=2,
        seconds=1.0,
        on_progress=seen.append,
    )
    assert not done
    assert seen[-1].total == 4
    assert sorted(path.name for path in (tmp_path / 'logs').iterdir()) == [
        'job_0.log',
        'job_1.log',
    ]


# -------------------------------------------------------------------------- tables

A, B = Cell('a', CONFIG), Cell('b', CONFIG, {'x.y': 1})
STUDY = Study('T', 'B', 'a', (A, B), (0, 1, 2), ('m', 'n'), {'test': {}})


def records(*values, cell=A):
    return {
        StudyRun(cell, seed): RunRecord(
            'i', {'test': {'m': value}}, dict(training_seconds=10.0 + seed), 'CPU'
        )
        for seed, value in enumerate(values)
    }


def test_table_of_hand_worked_values():
    table = study_table(STUDY, records(40.0, 42.0, 44.0) | records(41.0, 45.0, cell=B))
    base, other = table['splits']['test']['a']['m'], table['splits']['test']['b']['m']
    assert (base['mean'], base['deviation'], base['count']) == (42.0, 2.0, 3)
    assert other['values'] == {'0': 41.0, '1': 45.0}
    # differences 1 and 3: mean 2, deviation sqrt 2, error 1
    assert other['difference'] == dict(mean=2.0, error=pytest.approx(1.0), count=2)
    assert table['runs'] == dict(finished=5, total=6)
    assert table['cells']['b']['cost'] == dict(training_seconds=10.5)
    text = table_text(table)
    assert '| a | 42.00 ± 2.00 | 3 |' in text
    assert '| b | 43.00 ± 2.83 (+2.00 ± 1.00) | 2 |' in text
    assert 'Budget of a run: B. Seeds 0, 1, 2; 5 of 6 runs finished, on CPU.' in text


def test_table_of_one_seed_has_no_spread():
    text = table_text(study_table(STUDY, records(40.0) | records(39.5, cell=B)))
    assert '| b | 39.50 (-0.50) | 1 |' in text


def test_table_tells_of_settings_given_beside_the_budget():
    changed = replace(STUDY, changes={'train_cfg.max_epochs': 3})
    table = study_table(changed, {})
    assert table['changes'] == {'train_cfg.max_epochs': 3}
    assert 'But with `train_cfg.max_epochs=3`.' in table_text(table)
    assert 'But with' not in table_text(study_table(STUDY, {}))


def test_tables_without_records_are_written(tmp_path):
    files = write_study(STUDY, {}, tmp_path)
    assert {path.name for path in files} == {'study.json', 'study.md', 'seeds.png'}
    assert '| b | 0 |' in (tmp_path / 'study.md').read_text()


def test_written_files(tmp_path):
    curve = dict(thresholds=[0.0, 0.5], curves=dict(mIoU=[1.0, 2.0]))
    folder = tmp_path / 'a/seed_0/test'
    folder.mkdir(parents=True)
    (folder / 'seed_curve.json').write_text(json.dumps(curve))
    files = write_study(STUDY, records(40.0, 41.0), tmp_path)
    assert [path.name for path in files[2:]] == ['seeds.png', 'curves.png']
    assert all(path.read_bytes()[1:4] == b'PNG' for path in files[2:])
    assert json.loads(files[0].read_text())['splits']['test']['a']['m']['mean'] == 40.5
