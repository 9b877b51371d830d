"""The table of refiners: one classifier a seed, chains that start as its copy."""

import importlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import pytest
from mmengine.config import Config

from mmwsss.apis.pipeline import Stage
from mmwsss.apis.pipeline_stages import StageBuilder
from mmwsss.utils.digests import digest_file
from mmwsss.utils.errors import ArtefactError, ConfigError, WSSSError

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / 'tools/analysis'
CONFIG = ROOT / 'configs/_base_/studies/refiners_embedded.py'
PHOTOGRAPHS = ROOT / 'configs/_base_/studies/refiners_voc_cached.py'
NAMES = ('data', 'classifier', 'seeds', 'labels', 'segmentor', 'test')
# Notes in a journal that it ran, then makes a file; fails where a fault lies there.
SCRIPT = """
import os, sys
folder, name = sys.argv[1:]
journal = os.path.join(folder, '../../journal')
with open(journal, 'a') as file:
    file.write(os.path.relpath(folder, os.path.dirname(journal)) + '/' + name + '\\n')
if os.path.exists(journal + '.fault') and name == 'labels' and 'pamr' in folder:
    sys.exit('no more paper')
os.makedirs(os.path.join(folder, name), exist_ok=True)
open(os.path.join(folder, name, 'made'), 'w').write(name)
"""


@pytest.fixture(autouse=True)
def tools(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)


@pytest.fixture
def chains(monkeypatch, tmp_path):
    """The module of chains, with stages that cost nothing."""
    module = importlib.import_module('refiner_chains')
    script = tmp_path / 'script.py'
    script.write_text(SCRIPT)

    class Builder:
        def __init__(self, config, work_dir):
            self.config, self.folder = config, work_dir

        def build(self):
            return [self.stage(name) for name in NAMES]

        def stage(self, name):
            labels = dict(self.config.get('labels', {}))
            made = self.folder / name / 'made'
            return Stage(
                name=name,
                commands=((str(script), str(self.folder), name),),
                files=(made.parent,),
                settings=dict(labels) if name == 'labels' else {},
                output=lambda: digest_file(made),
                quality=lambda: dict(mIoU=40.0) if name == 'test' else {},
            )

    monkeypatch.setattr(module, 'StageBuilder', Builder)
    monkeypatch.setattr(module.Chain, 'figures', figures)
    monkeypatch.setattr(module.Chain, 'judged', lambda *given: Seeds(*given))
    return module


class Seeds:
    """What is asked of stored seeds: half of their seed is the best threshold."""

    def __init__(self, chain, split):
        assert split == chain.config.get('splits', {}).get('table')
        self.threshold = chain.seed / 2

    def seeds(self):
        return {'seed/threshold_best': self.threshold, 'seed/mIoU_best': 50.0}


def figures(chain, pipeline):
    """Figures that tell the seed and the refiner apart."""
    labels = 50 + 10 * chain.seed + 100 * chain.refiner['background_threshold']
    found = dict(labels=labels, boundary_F=1.0, undecided=0.0)
    return dict(found, segmentor=pipeline.record(pipeline.stages[-1]).quality['mIoU'])


def parts():
    return [
        dict(
            label=label,
            refiner=dict(type=label.lower()),
            search=[dict(background_threshold=[0.1, 0.2])],
        )
        for label in ('threshold', 'PAMR')
    ]


@pytest.fixture
def table(chains, tmp_path, monkeypatch):
    """The tool on a table of two refiners and two seeds, tuned already."""
    module = importlib.import_module('refiner_table')
    config = dict(
        title='A table',
        data=dict(synthetic=dict(train=4, test=2)),
        classifier=dict(config='c.py'),
        segmentor=dict(config='s.py'),
        seeds=[0, 1],
        tuning_seed=7,
        refiners=parts(),
    )
    path = tmp_path / 'config.py'
    Config(config).dump(path)
    work = tmp_path / 'work'
    work.mkdir()
    entry = dict(mIoU=60.0, tried=[], chosen=dict(background_threshold=0.2))
    refiners = {
        part['label']: dict(entry, part=module.digest_json(part)) for part in parts()
    }
    refiners['PAMR'] |= dict(mIoU=61.0, chosen=dict(background_threshold=0.1))
    tuned = dict(seed=7, origin=module.origin_of(config), refiners=refiners)
    tuned |= dict(seeds=55.0, winner='PAMR')
    (work / 'tuned.json').write_text(json.dumps(tuned))

    def run(*arguments):
        argv = ['refiner_table.py', path, '--work-dir', work, *arguments]
        monkeypatch.setattr(sys, 'argv', list(map(str, argv)))
        monkeypatch.setenv('OMP_NUM_THREADS', '1')
        (work / 'journal').write_text('')
        module.main()
        return json.loads((work / 'table.json').read_text())

    run.work = work
    return run


def journal(table):
    return (table.work / 'journal').read_text().split()


def test_a_seed_has_one_classifier(table):
    report = table('--jobs', '2')
    ran = journal(table)
    for seed in (0, 1):
        for name in NAMES[:3]:
            assert ran.count(f'seed_{seed}/base/{name}') == 1
        for folder in ('seeds', 'threshold', 'pamr'):
            assert f'seed_{seed}/{folder}/classifier' not in ran
            assert f'seed_{seed}/{folder}/segmentor' in ran
            assert (table.work / f'seed_{seed}/{folder}/classifier/made').is_file()
    assert len(ran) == 2 * (3 + 3 * 3)
    rows = {row['refiner']: row for row in report['rows']}
    values = {
        name: [rows[name]['values'][seed]['labels'] for seed in ('0', '1')]
        for name in rows
    }
    # the row of seeds takes the best threshold of each seed, the others the chosen one
    assert values == {'seeds': [50, 110], 'threshold': [70, 80], 'PAMR': [60, 70]}
    summary = rows['PAMR']['labels']['summary']
    assert summary['mean'] == 65
    assert summary['error'] == pytest.approx(statistics.stdev([60, 70]) / 2**0.5)
    difference = rows['PAMR']['labels']['difference']
    assert difference['mean'] == statistics.mean([60 - 50, 70 - 110])
    assert difference['error'] == pytest.approx(statistics.stdev([10, -40]) / 2**0.5)
    assert [row['winner'] for row in report['rows']] == [False, False, True]


def test_page(table):
    table()
    text = (table.work / 'table.md').read_text()
    assert 'chosen on seed 7, which is not in the table' in text
    assert 'labels reach 61.00 there, the seeds 55.00' in text
    assert '| seeds | best threshold | 80.00 ± 30.00 |' in text
    assert (
        '| **PAMR** | background_threshold 0.1 | 65.00 ± 5.00 (-15.00 ± 25.00)' in text
    )


def test_page_of_given_images(table):
    module = importlib.import_module('refiner_table')
    table()
    report = json.loads((table.work / 'table.json').read_text())
    splits = dict(tuning='Sets/mini.txt', table='Sets/rest.txt')
    text = module.markdown(report | dict(data=dict(root='VOC'), splits=splits))
    assert 'trainings with seeds 0, 1, labels of `rest`. Settings' in text
    assert 'chosen on `mini` with seed 7, images that are not in the table' in text


def test_a_failure_costs_no_other_chain_and_is_made_good(table):
    fault = table.work / 'journal.fault'
    fault.touch()
    with pytest.raises(WSSSError, match='2 chains failed.* seed_./pamr: stage labels'):
        table('--jobs', '2')
    text = (table.work / 'table.md').read_text()
    assert '| **PAMR** | background_threshold 0.1 | - |' in text
    fault.unlink()
    report = table()
    ran = journal(table)
    assert sorted(ran) == sorted(
        f'seed_{seed}/pamr/{name}' for seed in (0, 1) for name in NAMES[3:]
    )
    assert report['rows'][2]['labels']['summary']['count'] == 2


def test_a_copy_cut_short_is_made_anew(chains, tmp_path):
    source, target = tmp_path / 'a', tmp_path / 'b'
    source.mkdir()
    (source / 'file').write_text('whole')
    (tmp_path / '.b.half').mkdir()
    (tmp_path / '.b.half/file').write_text('who')
    chains.copy_whole(source, target)
    assert (target / 'file').read_text() == 'whole'
    (source / 'file').write_text('other')
    chains.copy_whole(source, target)
    assert (target / 'file').read_text() == 'whole'


def test_settings_must_have_been_searched_as_they_are(table):
    with pytest.raises(ArtefactError, match='PAMR were not searched as its entry'):
        table('--cfg-options', 'refiners.1.refiner.type=threshold')
    with pytest.raises(ArtefactError, match='other settings of data or classifier'):
        table('--cfg-options', 'data.synthetic.train=5')
    with pytest.raises(ConfigError, match='no refiner PSA'):
        table('--only', 'PSA')
    (table.work / 'tuned.json').unlink()
    with pytest.raises(ArtefactError, match='search the settings first'):
        table()


class Judge:
    """Labels whose quality is known: the nearer to 0.2, the better."""

    def seeds(self):
        return {'seed/mIoU_best': 55.0}

    def search(self, contender):
        tried = [
            dict(settings=contender.searched(s), mIoU=60 - 100 * gap(s))
            for s in contender.candidates()
        ]
        best = max(range(len(tried)), key=lambda n: tried[n]['mIoU'])
        return contender.candidates()[best], tried


def gap(settings):
    pamr = settings['type'] == 'pamr'
    return abs(settings['background_threshold'] - (0.12 if pamr else 0.2))


def test_tuning_keeps_the_best(table, chains, monkeypatch, capsys):
    tuned = table.work / 'tuned.json'
    tuned.unlink()
    monkeypatch.setattr(chains.Chain, 'judged', lambda *_, **__: Judge())
    with pytest.raises(FileNotFoundError):  # it writes no table
        table('--tune', '--only', 'threshold')
    assert journal(table) == [f'seed_7/base/{name}' for name in NAMES[:3]]
    first = json.loads(tuned.read_text())
    assert first['winner'] == 'threshold'
    assert first['refiners']['threshold']['chosen'] == dict(background_threshold=0.2)
    with pytest.raises(FileNotFoundError):
        table('--tune', '--only', 'PAMR')
    assert journal(table) == []
    both = json.loads(tuned.read_text())
    assert both['refiners']['threshold'] == first['refiners']['threshold']
    assert both['refiners']['PAMR']['mIoU'] == pytest.approx(58)
    assert both['winner'] == 'threshold'


def test_config_makes_pipelines(tmp_path):
    module = importlib.import_module('refiner_table')
    config = module.read_table(str(CONFIG), {})
    assert config['tuning_seed'] not in config['seeds']
    assert len(config['seeds']) >= 3
    for part in module.rows_of(config, None):
        chain = module.Chain(config, tmp_path, 0, part['label'], part, part['refiner'])
        stages = [stage.name for stage in chain.pipeline().stages]
        wanted = ['affinity_labels', 'refinement'] if 'refinement' in part else []
        assert stages == [*NAMES[:3], *wanted, *NAMES[3:]]
    assert StageBuilder is importlib.import_module('refiner_chains').StageBuilder


def test_trainings_on_given_images_have_the_seed(tmp_path):
    module = importlib.import_module('refiner_table')
    config = module.read_table(str(PHOTOGRAPHS), {'data.root': str(tmp_path)})
    (part,) = module.rows_of(config, ['PSA'])
    chain = module.Chain(config, tmp_path, 2, 'PSA', part, part['refiner'])
    stages = {stage.name: stage for stage in chain.pipeline().stages}
    for name in ('classifier', 'refinement', 'segmentor'):
        assert stages[name].settings['config']['randomness']['seed'] == 2
    assert stages['data'].commands == ()


def test_images_of_a_split_are_measured(chains, tmp_path):
    made = tmp_path / 'seed_0/base/configs/classifier.py'
    made.parent.mkdir(parents=True)
    Config(dict(seed_dataloader=dict(dataset=dict(ann_file='all.txt')))).dump(made)
    chain = chains.Chain({}, tmp_path, 0, 'base', {}, {})
    for split, expected in ((None, 'all.txt'), ('few.txt', 'few.txt')):
        config = chain.measured_images(split)
        assert config.seed_dataloader.dataset.ann_file == expected


def test_settings_are_not_searched_on_the_table(tmp_path):
    module = importlib.import_module('refiner_table')
    with pytest.raises(ConfigError, match='seed 1 is for the search of settings'):
        module.read_table(str(CONFIG), {'tuning_seed': 1})


def test_a_process_that_dies_is_told(chains, tmp_path, monkeypatch):
    def run(chain, until):
        if chain.label == 'b':
            os.kill(os.getpid(), signal.SIGKILL)
        return dict(labels=1.0)

    monkeypatch.setattr(chains.Chain, 'run', run)
    each = [chains.Chain({}, tmp_path, 0, label, {}, {}) for label in 'abc']
    outcome = chains.run_all(each, [], 2)
    assert sorted(outcome.figures) == [('a', 0), ('c', 0)]
    assert outcome.failures == ['seed_0/b: its process was ended']


def test_an_end_asked_for_ends_the_tools(chains, tmp_path):
    """The driver gets SIGTERM while a stage sleeps; neither it nor the stage stays."""
    note = tmp_path / 'pid'
    sleeper = f'echo $$ > {note}; exec sleep 60'

    def run(chain, until):
        subprocess.run(['bash', '-c', sleeper], check=True)

    def drive():
        chains.end_by_signal()
        chains.Chain.run = run
        chains.run_all([chains.Chain({}, tmp_path, 0, 'a', {}, {})], [], 1)

    process = get_context('fork').Process(target=drive)
    process.start()
    while not (note.exists() and note.read_text().strip()):
        time.sleep(0.02)
    process.terminate()
    process.join(60)
    assert process.exitcode == 128 + signal.SIGTERM
    stat = Path(f'/proc/{note.read_text().strip()}/stat')
    deadline = time.monotonic() + 30
    # ended, it may wait for its parent, which is another by now, to take note
    while stat.exists() and stat.read_text().split()[2] != 'Z':
        assert time.monotonic() < deadline
        time.sleep(0.05)
