"""The study of stopped pipelines: when it kills, and what it finds different."""

import importlib.util
import time

from mmengine.config import Config, DictAction
from rich.console import Console
from tiny_run import ROOT

from mmwsss.apis.pipeline_stages import StageBuilder

PATH = ROOT / 'tools/analysis/pipeline_resume_study.py'
spec = importlib.util.spec_from_file_location('pipeline_resume_study', PATH)
study = importlib.util.module_from_spec(spec)
spec.loader.exec_module(study)


def test_it_kills_in_every_stage_of_a_config_that_it_can_set(tmp_path):
    config = Config.fromfile(ROOT / study.CONFIG)
    pairs = (option.split('=', 1) for option in study.OPTIONS)
    config.merge_from_dict({k: DictAction._parse_iterable(v) for k, v in pairs})
    stages = [stage.name for stage in StageBuilder(config, tmp_path).build()]
    assert list(dict.fromkeys(moment.stage for moment in study.MOMENTS)) == stages


def test_moments_wait_for_files_new_lines_or_time(tmp_path):
    log = tmp_path / 'logs/seeds.log'
    of_files = study.Moment('seeds', 'two', files='x/*.a', count=2).watch(tmp_path)
    of_line = study.Moment('seeds', 'line', lines=('no', 'Epoch')).watch(tmp_path)
    assert not of_files() and not of_line()
    for name in ('x/1.a', 'x/2.b', 'logs/seeds.log'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert not of_files() and not of_line()
    (tmp_path / 'x/2.a').touch()
    log.write_text('an Epoch ends')
    assert of_files() and of_line()
    again = study.Moment('seeds', 'line', lines=('Epoch',)).watch(tmp_path)
    assert not again()
    soon = study.Moment('any', 'time', seconds=0.05).watch(tmp_path)
    assert not soon()
    time.sleep(0.06)
    assert soon()


def test_differences_are_found_and_shown(capsys):
    straight = {'labels/seeds/a': '1', 'labels/labels.json': '2', 'test/b': '3'}
    stopped = {'labels/seeds/a': '1', 'labels/labels.json': '9', 'labels/seeds/c': '4'}
    found = study.compare(straight, stopped)
    assert found == {
        'labels/labels.json': dict(equal=0, differing=['labels/labels.json']),
        'labels/seeds': dict(equal=1, differing=['labels/seeds/c']),
        'test': dict(equal=0, differing=['test/b']),
    }
    kill = dict(stage='test', moment='m', killed=True, unfinished=True)
    run = dict(kills=[kill], compared=found)
    assert not study.show(dict(runs=dict(stopped=run)), Console(width=120))
    assert 'labels/seeds/c' in capsys.readouterr().out
    run['compared'] = study.compare(straight, straight)
    assert study.show(dict(runs=dict(stopped=run)), Console(width=120))
    kill['unfinished'] = False
    assert not study.show(dict(runs=dict(stopped=run)), Console(width=120))


def test_a_used_folder_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / 'left.txt').touch()
    monkeypatch.setattr('sys.argv', ['study', '--work-dir', str(tmp_path)])
    assert study.main() == 1
    assert f'{tmp_path} is not empty' in capsys.readouterr().err
