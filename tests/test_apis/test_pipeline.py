"""The chain with cheap stages: order, records, refusals, failures and kills."""

import errno
import json
import os
import sys

import pytest
from cheap_chain import NAMES, Chain

from mmwsss.apis import pipeline as module
from mmwsss.apis.pipeline import Pipeline, Record, Stage, StageError, command_line
from mmwsss.utils.digests import digest_file
from mmwsss.utils.errors import ArtefactError, ConfigError


@pytest.fixture
def chain(tmp_path):
    return Chain(tmp_path)


# ------------------------------------------------------------------ what it does


def test_stages_run_in_order_and_once(chain):
    seen = []
    ran = chain.run(
        on_start=lambda stage: seen.append(stage.name),
        on_end=lambda stage, record: seen.append(record.quality['length']),
    )
    assert ran == list(NAMES)
    assert seen == ['one', 3.0, 'two', 6.0, 'three', 11.0]
    assert chain.made('three') == 'onetwothree'
    assert chain.run() == []


def test_records_name_inputs_output_time_and_quality(chain):
    chain.run()
    record = json.loads(chain.record('two').read_text())
    assert set(record) == {'inputs', 'output', 'seconds', 'quality'}
    assert record['output'] == digest_file(chain.folder / 'two/made')
    assert record['quality'] == {'length': 6.0}
    assert 0 <= record['seconds'] < 60
    pipeline = chain.pipeline()
    assert pipeline.record(pipeline.stages[1]) == Record(**record)


def test_until_stops_and_the_rest_follows(chain):
    assert chain.run(until='two') == ['one', 'two']
    assert chain.planned() == ['three']
    assert chain.planned(until='two') == []
    assert chain.run(until='one') == []
    assert chain.run() == ['three']


def test_from_removes_what_it_and_later_stages_made(chain):
    chain.run()
    (chain.folder / 'two/left').touch()
    (chain.folder / 'one/kept').touch()
    assert chain.planned(first='two') == ['two', 'three']
    assert (chain.folder / 'two/left').exists()
    assert chain.run(first='two', until='two') == ['two']
    assert not (chain.folder / 'two/left').exists()
    assert not (chain.folder / 'three').exists()
    assert not chain.record('three').exists()
    assert (chain.folder / 'one/kept').exists()
    assert chain.run() == ['three']


def test_from_a_later_stage_still_runs_the_unfinished_before(chain):
    chain.run(until='one')
    assert chain.planned(first='three') == ['two', 'three']
    assert chain.run(first='three') == ['two', 'three']


def test_from_removes_files_that_are_no_folders(chain):
    target = chain.folder / 'file'
    stage = Stage('lone', (), (target,), {}, lambda: 'digest', dict)
    target.touch()
    Pipeline([stage], chain.folder).forget_from('lone')
    assert not target.exists()


def test_each_stage_is_prepared_before_its_commands(chain):
    target = chain.folder / 'prepared'
    stage = Stage(
        name='lone',
        commands=(),
        files=(),
        settings={},
        output=target.read_text,
        quality=dict,
        prepare=lambda: target.write_text('ready'),
    )
    pipeline = Pipeline([stage], chain.folder)
    assert pipeline.plan() == [stage]
    assert not target.exists()
    pipeline.run()
    assert pipeline.record(stage).output == 'ready'


def test_commands_find_the_package_and_their_interpreter(chain, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', '/elsewhere')
    script = chain.folder / 'print.py'
    script.write_text(
        'import os; print(os.environ["PYTHONPATH"], os.environ["PYTHON"])'
    )
    stage = Stage('lone', ((str(script),),), (), {}, lambda: 'digest', dict)
    Pipeline([stage], chain.folder).run()
    log = (chain.folder / 'logs/lone.log').read_text()
    assert log == f'{module.REPOSITORY}{os.pathsep}/elsewhere {sys.executable}\n'


def test_command_lines():
    root = module.REPOSITORY
    assert command_line(('tools/test.py', 'a')) == [
        sys.executable,
        str(root / 'tools/test.py'),
        'a',
    ]
    assert command_line(('tools/dist_test.sh', 'a'))[:2] == [
        'bash',
        str(root / 'tools/dist_test.sh'),
    ]


# --------------------------------------------------------------- what it refuses


@pytest.mark.parametrize('name', NAMES)
def test_other_settings_make_a_stage_stale(chain, name):
    chain.run()
    chain.settings[name] = dict(rate=0.1)
    message = f'stage {name} was made with other settings.*--from {name}.*--work-dir'
    with pytest.raises(ArtefactError, match=message):
        chain.run()
    assert chain.made('three') == 'onetwothree'
    assert chain.run(first=name) == list(NAMES[NAMES.index(name) :])
    assert chain.planned() == []


def test_stages_behind_the_last_wanted_one_may_be_stale(chain):
    chain.run()
    chain.settings['three'] = dict(rate=0.1)
    assert chain.run(until='two') == []


def test_another_output_before_makes_a_stage_stale(chain):
    chain.run()
    target = chain.folder / 'one/made'
    target.write_text('other')
    record = json.loads(chain.record('one').read_text())
    record['output'] = digest_file(target)
    chain.record('one').write_text(json.dumps(record))
    with pytest.raises(ArtefactError, match='stage two was made with other .*inputs'):
        chain.run()


@pytest.mark.parametrize('fault', ['changed', 'gone'])
def test_outputs_must_be_as_they_were_made(chain, fault):
    chain.run()
    target = chain.folder / 'two/made'
    target.write_text('spoilt') if fault == 'changed' else target.unlink()
    with pytest.raises(ArtefactError, match='two made has changed or is .*--from two'):
        chain.run()
    assert chain.run(first='two') == ['two', 'three']


@pytest.mark.parametrize('text', ['', '{', '[1]', '{"inputs": "a"}', '\udce4'])
def test_damaged_record(chain, text):
    chain.run()
    chain.record('two').write_bytes(text.encode(errors='surrogateescape'))
    with pytest.raises(ArtefactError, match=r'two\.json is damaged .*--from two'):
        chain.run()
    assert chain.run(first='two') == ['two', 'three']


@pytest.mark.parametrize('option', ['first', 'until'])
def test_unknown_stage_touches_nothing(chain, option):
    chain.run()
    message = "no stage 'twoo'; stages are one, two, three"
    with pytest.raises(ConfigError, match=message):
        chain.run(**{option: 'twoo'})
    with pytest.raises(ConfigError, match=message):
        chain.run(first='one', until='twoo')
    assert chain.planned() == []


def test_an_end_before_the_beginning_touches_nothing(chain):
    chain.run()
    with pytest.raises(ConfigError, match='--from three is behind --until one'):
        chain.run(first='three', until='one')
    assert chain.planned() == []


def test_stale_stages_before_the_first_wanted_one_touch_nothing(chain):
    chain.run()
    chain.settings['one'] = dict(rate=0.1)
    with pytest.raises(ArtefactError, match='stage one was made with other settings'):
        chain.run(first='three')
    assert chain.made('three') == 'onetwothree'


def test_a_stage_begun_with_other_settings_is_not_finished_with_these(chain):
    chain.faults['two'] = 'fails'
    (chain.folder / 'fails').touch()
    with pytest.raises(StageError):
        chain.run()
    (chain.folder / 'fails').unlink()
    chain.settings['two'] = dict(rate=0.1)
    with pytest.raises(ArtefactError, match='two was begun with other .*--from two'):
        chain.run()
    assert (chain.folder / 'two/half').exists()
    assert chain.run(first='two') == ['two', 'three']
    assert not (chain.folder / 'two/half').exists()


def test_files_of_unknown_origin_are_not_taken_for_a_stage(chain):
    (chain.folder / 'two').mkdir()
    with pytest.raises(ArtefactError, match='stage two was begun with other settings'):
        chain.run()
    assert chain.run(first='two') == ['two', 'three']


def test_a_lost_record_leaves_no_later_figures(chain):
    chain.run()
    chain.record('one').unlink()
    assert chain.run(until='one') == ['one']
    assert chain.planned() == ['two', 'three']
    assert chain.run() == ['two', 'three']
    assert chain.made('three') == 'onetwothree'


def test_what_cannot_be_removed_is_named(chain, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, 'Permission denied', str(path))

    chain.run()
    monkeypatch.setattr(module.shutil, 'rmtree', refuse)
    with pytest.raises(ArtefactError, match=f'{chain.folder}/three: permission denied'):
        chain.run(first='two')
    assert chain.planned() == []


def test_a_disk_full_at_the_record_leaves_the_stage_unfinished(chain, monkeypatch):
    whole = os.fsync

    def fill(descriptor):
        if (chain.folder / 'two/made').exists():
            raise OSError(errno.ENOSPC, 'No space left on device')
        whole(descriptor)

    monkeypatch.setattr('mmwsss.utils.atomic.os.fsync', fill)
    with pytest.raises(ArtefactError, match=r'two\.json: the disk is full'):
        chain.run()
    monkeypatch.undo()
    assert chain.run() == ['two', 'three']
