"""The benchmarks on small models: equal results, and the page of goals and figures."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / 'tools/benchmarks'


@pytest.fixture(scope='module')
def scripts():
    """Let the scripts be imported as they import each other."""
    threads, before = torch.get_num_threads(), set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))
    torch.set_num_threads(threads)
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], '__file__', None) or ''
        if file.startswith(str(FOLDER)):
            del sys.modules[name]


@pytest.fixture
def run(scripts, monkeypatch, tmp_path):
    """Run a script's main in this process; peaks of others are given."""

    def run(name, *arguments):
        script = __import__(name)
        if hasattr(script, 'peak_in_child'):
            given = lambda side, line: dict(before=1.0, peak=2.0)
            monkeypatch.setattr(script, 'peak_in_child', given)
        file = tmp_path / 'result.json'
        line = ['--small', '--repeats', '1', '--threads', '1', '--json', str(file)]
        monkeypatch.setattr(sys, 'argv', [f'{name}.py', *line, *arguments])
        script.main()
        return json.loads(file.read_text('utf-8'))

    return run


def check_times(case):
    """Times are positive and in order, wherever they are."""
    values = case.values() if isinstance(case, dict) else case
    for value in values:
        if isinstance(value, dict) and set(value) == {'median', 'min', 'max'}:
            assert 0 < value['min'] <= value['median'] <= value['max']
        elif isinstance(value, (dict, list)):
            check_times(value)


@pytest.mark.parametrize(
    ('name', 'tolerance'),
    [
        ('localization', 1e-4),
        ('train_step', 1e-3),
        ('rca_step', 1e-4),
        ('refinement', 1e-4),
    ],
)
def test_fast_paths_equal_the_plain_readings(run, name, tolerance):
    result = run(name, *(['--batch', '1'] if name == 'train_step' else []))
    assert result['benchmark'] == name
    assert result['machine'].keys() >= {'cpu', 'cores', 'memory_gib', 'torch'}
    assert 0 <= result['max_relative_difference'] <= tolerance
    assert all(
        goal.keys() == {'what', 'goal', 'figure', 'ok'} for goal in result['goals']
    )
    check_times(result['cases'])
    assert all(case.get('same_bits_again', True) for case in result['cases'])


def test_the_curve_equals_that_of_passes_to_the_last_integer(run):
    result = run('seed_curve', '--thresholds', '10')
    assert result['differing_integers'] == 0
    check_times(result['cases'])


def test_cost_against_work(run):
    amounts = ['--localization', '1', '2', '--evaluation', '3', '9', '6']
    result = run('scaling', *amounts, '--training', '1', '2')
    kinds = ['localization', 'many_images', 'evaluation', 'training']
    assert [case['work'] for case in result['cases']] == kinds
    assert result['cases'][2]['amounts'] == [3, 9, 6]
    for case in result['cases']:
        assert len(case['seconds']) == len(case['amounts'])
        assert case['memory_growth_mib'] == 0
        assert case['r2'] <= 1
    check_times(result['cases'])


def test_cost_of_each_classifier(run):
    cases = run('efficiency')['cases']
    check_times(cases)
    for case in cases:
        assert case['size'] == '96x96'
        assert case['training_mib'] == 2
        for name, speed in (
            ('train', 'trained_images_per_second'),
            ('seed', 'seeds_per_second'),
        ):
            assert case[speed] == pytest.approx(1 / case[name]['median'])
    cam, _, rca = (case['trained_parameters'] for case in cases)
    assert cam < rca  # the same network with one head and with two


def test_line_through_points(scripts):
    from scaling import fit_line

    exact = fit_line([1, 2, 4], [5.0, 7.0, 11.0])
    assert exact == pytest.approx(dict(slope=2, intercept=3, r2=1))
    work, seconds = [1, 2, 3, 4], [1.0, 3.0, 2.0, 5.0]
    found = fit_line(work, seconds)
    assert found['slope'] == pytest.approx(1.1)
    assert found['intercept'] == pytest.approx(0)
    assert found['r2'] == pytest.approx(np.corrcoef(work, seconds)[0, 1] ** 2)


def test_evaluation_counts_each_generated_pixel(scripts):
    from scaling import SIZE, draw_sample

    samples = [draw_sample(index) for index in range(4)]
    assert [len(s['localization']['classes']) for s in samples] == [1, 2, 3, 1]
    assert all(s['gt_sem_seg']['data'].shape == (1, *SIZE) for s in samples)
    assert len({s['img_path'] for s in samples}) == 4


def test_shares_of_loading(run):
    result = run('loading', '--workers', '0', '--images', '2', '--steps', '1')
    parts = [result[f'{name}_share'] for name in ('decode', 'resize', 'rest')]
    assert all(0 < part < 1 for part in parts)
    assert sum(parts) == pytest.approx(1)
    assert 0 < result['waiting_share'] < 1
    assert result['settings']['config'] == 'configs/acr/small_hybrid_voc.py'
    check_times(result['cases'])


def test_profiles_of_both_sides(scripts, monkeypatch, tmp_path):
    import profiles

    page = tmp_path / 'profiles.md'
    monkeypatch.setattr(
        'sys.argv', ['profiles.py', '--small', '--rows', '3', '--out', str(page)]
    )
    profiles.main()
    text = page.read_text()
    assert text.count('### Before') == text.count('### After') == 2
    tables = text.split('\n### ')[1:]
    for table in tables:
        rows = [line.split('|')[1:-1] for line in table.splitlines() if '|' in line]
        (*parts, together) = (float(row[1]) for row in rows[2:])
        assert len(parts) == 4
        assert sum(parts) == pytest.approx(together, abs=0.3)


# ------------------------------------------------------------------------ the page


@pytest.fixture
def run_all(scripts, monkeypatch, tmp_path):
    import run_all

    def call(*arguments):
        line = ['run_all.py', '--out', str(tmp_path / 'docs/page'), *arguments]
        monkeypatch.setattr(sys, 'argv', line)
        with pytest.raises(SystemExit) as stop:
            run_all.main()
        return stop.value.code

    call.module = run_all
    return call


def rows(page):
    """Cells of the table of goals."""
    table = page.split('## Goals\n')[1].split('## Figures')[0].strip().splitlines()
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in table[2:]]


def test_one_page_of_all_scripts(run_all, tmp_path):
    code = run_all(
        '--small', '--threads', '1', '--repeats', '1', '--only', 'seed_curve'
    )
    assert not code
    result = json.loads((tmp_path / 'docs/page.json').read_text())['runs']['seed_curve']
    assert result['result']['settings']['small']
    page = (tmp_path / 'docs/page.md').read_text()
    speed, equal = rows(page)
    command = '`python tools/benchmarks/seed_curve.py --small --threads 1 --repeats 1`'
    assert speed[:3] == ['seed_curve', 'a pass a threshold over histogram', '≥ 100']
    assert equal[3:] == ['0', 'yes', command]
    machine = result['result']['machine']
    for fact in (f'cpu: {machine["cpu"]}', f'torch: {torch.__version__}', 'memory_gib'):
        assert fact in page
    assert f'{result["date"]} (seed_curve)' in page
    (tmp_path / 'docs/page.md').unlink()
    assert not run_all('--tables-only')
    assert (tmp_path / 'docs/page.md').read_text() == page


STUB = """
import json, sys
if {fails}:
    sys.exit('OSError: no such thing')
times = dict(median=2.0, min=1.0, max=3.0)
machine = dict(cpu='abacus', cores=2, memory_gib=3.25, torch='2', threads=1)
goals = [
    dict(what='one|two', goal='≤ 1', figure=0.123456, ok=True),
    dict(what='far', goal='≥ 9', figure=8.0, ok=False),
]
cases = [dict(work='a', many=[times, times], each=[1, 2]), dict(other=True)]
result = dict(machine=machine, goals=goals, cases=cases)
open(sys.argv[sys.argv.index('--json') + 1], 'w').write(json.dumps(result))
"""


def test_a_failed_script_is_named_and_the_others_are_kept(
    run_all, monkeypatch, tmp_path
):
    for name, fails in (('good', False), ('bad', True)):
        (tmp_path / f'{name}.py').write_text(STUB.format(fails=fails))
    lines = dict(good=('good.py',), bad=('bad.py', '--dtype', 'bf16'))
    monkeypatch.setattr(run_all.module, 'RUNS', lines)
    monkeypatch.setattr(run_all.module, 'FOLDER', tmp_path)
    assert run_all() == 1
    page = (tmp_path / 'docs/page.md').read_text()
    command = '`python tools/benchmarks/good.py`'
    table = page.replace('one\\|two', 'one two')
    assert rows(table) == [
        ['good', 'one two', '≤ 1', '0.1235', 'yes', command],
        ['good', 'far', '≥ 9', '8', '**no**', command],
        ['bad', 'exit code 1', '', '', '**failed**']
        + ['`python tools/benchmarks/bad.py --dtype bf16`'],
    ]
    assert 'OSError: no such thing' in page
    assert '| many 2 | 2 (1 to 3) s |' in page
    assert '| each | 1, 2 |' in page
    assert 'cpu: abacus; cores: 2; memory_gib: 3.25; threads: 1; torch: 2' in page
    # the one that failed is run again alone
    (tmp_path / 'bad.py').write_text(STUB.format(fails=False))
    good = json.loads((tmp_path / 'docs/page.json').read_text())['runs']['good']
    assert not run_all('--only', 'bad')
    runs = json.loads((tmp_path / 'docs/page.json').read_text())['runs']
    assert runs['good'] == good
    assert list(runs) == ['good', 'bad'] and 'failed' not in runs['bad']


def test_page_needs_results(run_all):
    message = run_all('--tables-only')
    assert message.startswith('no results at ')


def test_every_script_is_run(run_all):
    shared = {'measuring.py', 'models.py', 'results_page.py', 'run_all.py'}
    alone = {'profiles.py'}  # writes a page of its own
    names = {file.name for file in FOLDER.glob('*.py')} - shared - alone
    assert {line[0] for line in run_all.module.RUNS.values()} == names
