"""The study of stopped pipelines: when it kills, and what it finds different."""

import importlib
import json
import os
import signal
import sys
import time

import pytest
from mmengine.config import Config
from PIL import Image
from rich.console import Console
from tiny_run import ROOT

from mmwsss.apis.pipeline_stages import StageBuilder
from mmwsss.utils.errors import WSSSError

FOLDER = ROOT / 'tools/analysis'
sys.path.insert(0, str(FOLDER))
study = importlib.import_module('pipeline_resume_study')
runs = importlib.import_module('stopped_runs')
sys.path.remove(str(FOLDER))


@pytest.mark.parametrize('name', [None, *study.PIPELINES])
def test_it_kills_in_every_stage_of_a_config_that_it_can_set(tmp_path, name):
    start, refiner = study.PIPELINES.get(name, (study.CONFIG, None))
    path = tmp_path / 'configs/chain.py'
    stages = study.write_config(path, start, refiner)
    config = Config.fromfile(path)
    built = [stage.name for stage in StageBuilder(config, tmp_path).build()]
    assert stages == built
    killed = [moment.stage for moment in study.moments_in(stages)]
    assert list(dict.fromkeys(killed)) == stages
    if refiner:
        assert config.labels.refiner == refiner
    for kind in ('affinity_labels', 'refinement'):
        assert killed.count(kind) in ((3, 7) if kind in stages else (0,))


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
    found = study.compare({'affinity_labels/labels/a': '1'}, {})
    assert found['affinity_labels/labels']['differing'] == ['affinity_labels/labels/a']
    found = study.compare(straight, stopped)
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


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """A stand-in for the tool: writes its arguments, then does what a file says."""
    path = tmp_path / 'tool.py'
    path.write_text(
        'import sys, time, pathlib\n'
        'print(*sys.argv[1:], flush=True)\n'
        'folder = pathlib.Path(sys.argv[3])\n'
        '(folder / "made").touch()\n'
        'while (folder / "wait").exists(): time.sleep(0.01)\n'
        'if (folder / "fail").exists(): raise KeyError("broken")\n'
        'sys.exit(3 if (folder / "end").exists() else 0)\n'
    )
    monkeypatch.setattr(runs, 'TOOL', path)
    return path


@pytest.fixture(params=[True, False], ids=['forked', 'started'])
def chain(tool, tmp_path, request):
    work = tmp_path / 'work'
    work.mkdir()
    return runs.Chain(tmp_path / 'a.py', work, until='labels', forked=request.param)


def test_a_chain_is_run_to_its_end_or_fails(chain, tmp_path):
    assert 0 < chain.complete() < 60
    log = chain.work_dir / 'run.log'
    arguments = f'{tmp_path}/a.py --work-dir {chain.work_dir} --until labels'
    assert log.read_text() == f'{arguments}\n'
    (chain.work_dir / 'end').touch()
    with pytest.raises(WSSSError, match=rf'the pipeline failed, see {log}'):
        chain.complete()
    (chain.work_dir / 'fail').touch()
    with pytest.raises(WSSSError, match='the pipeline failed'):
        chain.complete()
    assert log.read_text().splitlines()[-1] == "KeyError: 'broken'"


def test_a_chain_is_killed_at_its_moment(chain):
    (chain.work_dir / 'wait').touch()
    found = chain.kill_at(runs.Moment('labels', 'begun', files='made'))
    assert found == dict(stage='labels', moment='begun', killed=True, unfinished=True)
    (chain.work_dir / 'wait').unlink()
    # ends before the moment comes
    found = chain.kill_at(runs.Moment('labels', 'never', files='no'))
    assert found == dict(stage='labels', moment='never', killed=False, unfinished=True)


def test_a_stage_that_has_ended_is_not_waited_for(chain):
    (chain.work_dir / 'stages').mkdir()
    for name in ('wait', 'stages/labels.json'):
        (chain.work_dir / name).touch()
    found = chain.kill_at(runs.Moment('labels', 'never', files='no'))
    assert found == dict(stage='labels', moment='never', killed=True, unfinished=False)


def test_tools_are_forked_into_the_group_that_is_killed(tmp_path):
    """The pipeline forks a tool, and one signal ends both."""
    inner, outer = tmp_path / 'inner.py', tmp_path / 'outer.py'
    inner.write_text(
        'import os, sys, time, pathlib\n'
        'pathlib.Path(sys.argv[1]).write_text(f"{os.getpid()} {os.getpgrp()}")\n'
        'time.sleep(60)\n'
    )
    outer.write_text(
        'import sys\n'
        'from mmwsss.apis import pipeline\n'
        'with open(sys.argv[1] + ".log", "w") as log:\n'
        f'    line = [sys.executable, {str(inner)!r}, sys.argv[1]]\n'
        '    fds = dict(stdout=log, stderr=pipeline.subprocess.STDOUT, pass_fds=())\n'
        '    pipeline.subprocess.run(line, env={}, check=False, **fds)\n'
    )
    place = tmp_path / 'place'
    with (tmp_path / 'log').open('w') as log:
        how = dict(leads=True, before=runs.fork_tools)
        process = runs.Fork(str(outer), [str(place)], log, **how)
    end = time.monotonic() + 30
    while not (place.exists() and place.read_text()) and time.monotonic() < end:
        time.sleep(0.01)
    tool, group = map(int, place.read_text().split())
    assert process.poll() is None
    assert tool != group == process.pid
    os.killpg(group, signal.SIGKILL)
    assert process.wait() == process.poll() == -signal.SIGKILL
    while is_running(tool) and time.monotonic() < end:
        time.sleep(0.01)
    assert not is_running(tool)


def is_running(pid):
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except FileNotFoundError:
        return False


def test_saliency_maps_are_blurred_masks_of_the_training_images(tmp_path):
    masks = tmp_path / 'shared/straight/data/SegmentationClass'
    masks.mkdir(parents=True)
    mask = Image.new('P', (40, 40))
    mask.paste(255, (10, 10, 30, 30))
    mask.paste(3, (12, 12, 28, 28))
    for name in ('train_00000', 'test_00000'):
        mask.save(masks / f'{name}.png')
    folder = study.write_saliency(tmp_path)
    assert folder == str(tmp_path / 'saliency')
    assert os.listdir(folder) == ['train_00000.png']
    with Image.open(f'{folder}/train_00000.png') as saliency:
        assert saliency.mode == 'L'
        values = [saliency.getpixel((x, 20)) for x in (0, 10, 20)]
    assert values[0] < 10 < 90 < values[1] < 165 < 240 < values[2]


def test_random_times_are_of_the_chain_alone(monkeypatch, capsys):
    monkeypatch.setattr(
        'sys.argv', ['study', '--pipelines', 'pamr', 'irn', '--random', '2']
    )
    with pytest.raises(SystemExit):
        study.parse_arguments()
    assert '--random is of the one chain' in capsys.readouterr().err


def test_refiners_start_from_one_stopped_and_one_straight_run(tmp_path, monkeypatch):
    """With stand-ins for the runs: what starts where, and what is compared."""
    calls = []

    class Recorded(runs.Chain):
        def complete(self):
            calls.append(('complete', self.arguments))
            self.work_dir.mkdir(parents=True, exist_ok=True)
            (self.work_dir / 'stages').mkdir(exist_ok=True)
            (self.work_dir / f'stages/{len(calls)}.begun').touch()
            return 1.25

        def kill_at(self, moment):
            calls.append((moment.stage, self.arguments))
            return dict(stage=moment.stage, moment='', killed=True, unfinished=True)

    monkeypatch.setattr(study, 'Chain', Recorded)
    monkeypatch.setattr(study, 'import_all', lambda: None)
    result = study.study_refiners(tmp_path, ['pamr', 'irn'])
    assert result['seconds_undisturbed'] == dict(shared=1.2, pamr=1.2, irn=1.2)
    places = {arguments[2]: arguments[-1] for _, arguments in calls}
    assert places == {
        f'{tmp_path}/{name}/{kind}': 'seeds' if name == 'shared' else 'test'
        for name in ('shared', 'pamr', 'irn')
        for kind in ('straight', 'stopped')
    }
    stages = [name for name, arguments in calls if '/irn/stopped' in arguments[2]]
    assert stages[-1] == 'complete'
    assert set(stages[:-1]) == {
        *('affinity_labels', 'refinement', 'labels', 'segmentor', 'test')
    }
    # the files differ by the number of calls: found among the copied ones
    compared = result['runs']['irn']['compared']['stages']
    assert compared['equal'] == 0
    assert len(compared['differing']) == 4
    json.dumps(result)
