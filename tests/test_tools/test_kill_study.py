"""The study of kills at random moments: what it finds in tools with known faults."""

import importlib
import json
import random
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest
import torch
from rich.console import Console
from tiny_run import ROOT

from mmwsss.apis.launch import add_common_arguments, config_with
from mmwsss.utils.errors import WSSSError

FOLDER = ROOT / 'tools/analysis'
sys.path.insert(0, str(FOLDER))
study = importlib.import_module('kill_study')
sys.path.remove(str(FOLDER))

KILLS, MOMENTS = 2, 30
# Writes six files, each whole or by halves, and says from which iteration it goes on.
SCRIPT = """
import os, sys, time
folder, fault = sys.argv[1:]
print(f'resumed epoch: 0, iter: {8 if fault == "forgets" else 9}', flush=True)
if fault == 'fails':
    sys.exit(3)
for number in range(6):
    path = f'{folder}/{number}.bin'
    if os.path.exists(path) and fault != 'anew':
        continue
    temporary = path if fault == 'torn' else f'{folder}/.mmwsss-{number}.tmp'
    with open(temporary, 'w') as file:
        for half in 'ab':
            file.write(half)
            file.flush()
            time.sleep(0.03)
    os.replace(temporary, path)
if fault == 'counts':
    with open(f'{folder}/{time.time_ns()}.bin', 'w'):
        pass
"""


@pytest.fixture
def stage(tmp_path):
    """Return a stage of the stand-in tool with a fault."""
    script = tmp_path / 'tool.py'
    script.write_text(SCRIPT)

    def stage(fault='', **settings):
        return study.Stage('x', str(script), (study.FOLDER, fault), **settings)

    return stage


def studied(stage, place):
    return study.study_stage(stage, place, KILLS, random.Random(0))


def test_a_sound_tool_passes(stage, tmp_path):
    found = studied(stage(), tmp_path / 'runs')
    assert len(found.moments) == KILLS
    assert all(0 <= moment <= found.seconds + 0.01 for moment in found.moments)
    assert 0 <= found.finished <= KILLS * 6
    assert (found.torn, found.remade, found.differing) == ([], [], [])
    assert [path.name for path in (tmp_path / 'runs').iterdir() if path.is_dir()] == [
        'quiet'
    ]
    assert study.show(dict(x=found), Console(width=200))


@pytest.mark.parametrize(
    ('fault', 'noticed'),
    [('torn', 'torn'), ('anew', 'remade'), ('counts', 'differing')],
)
def test_faults_are_found_and_shown(stage, tmp_path, fault, noticed, capsys):
    work, found = stage(fault), study.Found(1.0)
    seconds = work.complete(tmp_path / 'quiet')
    wanted = study.end_of(work, tmp_path / 'quiet')
    for number in range(MOMENTS):
        folder = tmp_path / f'killed_{number}'
        share = (1 + number % 9) / 10
        study.kill_once(work, folder, share * seconds, wanted, found)
        lines = getattr(found, noticed)
        if lines:
            break
    assert lines and all(line.startswith(f'{folder.name}/') for line in lines)
    assert not study.show(dict(x=found), Console(width=200))
    assert lines[0] in capsys.readouterr().out


def test_what_begins_anew_may_write_again(stage, tmp_path):
    work, found = stage('anew', begins_anew=True), study.Found(1.0)
    folder = tmp_path / 'killed_0'
    folder.mkdir()
    for number in range(6):
        (folder / f'{number}.bin').write_text('ab')
    wanted = study.end_of(work, folder)
    assert study.kill_once(work, folder, 0.05, wanted, found)
    assert (found.finished, found.remade, found.differing) == (6, [], [])


def test_a_tool_that_fails(stage, tmp_path):
    with pytest.raises(WSSSError, match='x failed, see .*quiet.txt'):
        studied(stage('fails'), tmp_path / 'runs')


@pytest.mark.parametrize('fault', ['', 'forgets'])
def test_trainings_must_go_on_from_the_newest_whole_checkpoint(stage, tmp_path, fault):
    folder, found = tmp_path / 'killed_000', study.Found(1.0)
    folder.mkdir()
    for number in (8, 9):
        checkpoint = dict(meta=dict(iter=number), state_dict={})
        torch.save(checkpoint, folder / f'iter_{number}.pth')
    content = (folder / 'iter_9.pth').read_bytes()
    (folder / 'iter_10.pth').write_bytes(content[:-40])
    assert study.kill_once(stage(fault), folder, 0.05, {}, found)
    assert found.torn_checkpoints == 1
    expected = ['killed_000: not resumed at iteration 9'] if fault else []
    assert found.remade == expected


def test_every_stage_names_what_there_is(tmp_path):
    stages = study.stages_in(tmp_path)
    assert [stage.name for stage in stages] == [
        *('data', 'training', 'accumulation', 'seeds', 'refinement'),
        *('export', 'import', 'archive'),
    ]
    for stage in stages:
        assert (ROOT / stage.tool).is_file()
        places = [part for part in stage.arguments if study.FOLDER in part]
        assert len(places) > 0
        config = Path(stage.arguments[0])
        if config.parts[0] == 'configs':
            start = stage.arguments.index('--cfg-options') + 1
            parser = ArgumentParser()
            add_common_arguments(parser)
            line = [str(config), '--cfg-options', *stage.arguments[start:]]
            config_with(ROOT / config, parser.parse_args(line).cfg_options)


def test_a_used_folder_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / 'left.txt').touch()
    monkeypatch.setattr('sys.argv', ['study', '--work-dir', str(tmp_path)])
    assert study.main() == 1
    assert f'{tmp_path} is not empty' in capsys.readouterr().err


def test_record_and_exit_status(tmp_path, monkeypatch, capsys):
    found = study.Found(2.5, moments=[1.0], finished=3, differing=['killed_000/a'])
    monkeypatch.setattr(study, 'study', lambda place, **_: dict(seeds=found))
    place = tmp_path / 'new'
    monkeypatch.setattr('sys.argv', ['study', '--work-dir', str(place)])
    assert study.main() == 1
    record = json.loads((place / 'study.json').read_text())
    assert record['seeds']['differing'] == ['killed_000/a']
    assert 'killed_000/a' in capsys.readouterr().out
