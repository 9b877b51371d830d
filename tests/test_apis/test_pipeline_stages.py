"""The stages of a pipeline config: commands, settings that count, bad configs."""

import dataclasses
import json

import pytest
from mmengine.config import Config

from mmwsss.apis.pipeline import REPOSITORY
from mmwsss.apis.pipeline_parts import SYNTHETIC
from mmwsss.apis.pipeline_stages import StageBuilder, by_dotted_key
from mmwsss.utils.errors import ArtefactError, ConfigError

NAMES = ['data', 'classifier', 'seeds', 'labels', 'segmentor', 'test']
REFINED = ['affinity_labels', 'refinement']


def embedded(**parts):
    """Return the embedded pipeline config with parts changed; None takes one off."""
    config = dict(
        data=dict(synthetic=dict(seed=3, train=5)),
        classifier=dict(config='configs/acr/hybrid_embedded.py'),
        labels=dict(refiner='threshold'),
        segmentor=dict(config='configs/segmentation/deeplabv2_embedded.py'),
    )
    config |= parts
    return Config({key: part for key, part in config.items() if part is not None})


def stages(work_dir, **parts):
    built = StageBuilder(embedded(**parts), work_dir).build()
    return {stage.name: stage for stage in built}


def training(name, **settings):
    return dict(embedded()[name]) | settings


def settings_of(work_dir, **parts):
    return {name: stage.settings for name, stage in stages(work_dir, **parts).items()}


def changed(work_dir, **parts):
    """Return the stages whose own settings differ from the plain config's."""
    plain = settings_of(work_dir)
    return {n for n, s in settings_of(work_dir, **parts).items() if s != plain[n]}


# ------------------------------------------------------------------------ commands


def test_commands_of_all_stages(tmp_path):
    found = stages(tmp_path)
    assert list(found) == NAMES
    root, config = str(tmp_path), f'{tmp_path}/configs/classifier.py'
    assert found['data'].commands == (
        ('tools/dataset_converters/synthetic.py', f'{root}/data')
        + ('--seed', '3', '--train', '5'),
    )
    assert found['classifier'].commands == (
        ('tools/train.py', config, '--work-dir', f'{root}/classifier')
        + ('--resume', 'auto'),
    )
    measure, make = found['seeds'].commands
    assert measure == (
        ('tools/test.py', config, f'{root}/classifier', '--work-dir', f'{root}/seeds')
        + ('--metrics', f'{root}/seeds/metrics.json')
    )
    generate = ('tools/generate_pseudo_labels.py', config, f'{root}/classifier')
    assert make == (*generate, '--out', f'{root}/labels', '--only', 'seeds')
    assert found['labels'].commands == (
        (*generate, '--out', f'{root}/labels', '--refiner', 'threshold'),
    )
    assert found['test'].commands[0][1:3] == (
        f'{root}/configs/segmentor.py',
        f'{root}/segmentor',
    )


def test_refiners_with_settings_have_a_config_of_their_own(tmp_path):
    refiner = dict(type='pamr', iterations=3)
    (command,) = stages(tmp_path, labels=dict(refiner=refiner))['labels'].commands
    assert command[1] == f'{tmp_path}/configs/labels.py'
    assert command[2:] == (f'{tmp_path}/classifier', '--out', f'{tmp_path}/labels')
    found = stages(tmp_path, labels=dict(refiner=refiner))
    found['labels'].prepare()
    found['seeds'].prepare()
    config = Config.fromfile(tmp_path / 'configs/labels.py')
    assert config.refiner == refiner
    plain = Config.fromfile(tmp_path / 'configs/classifier.py')
    assert plain.refiner == dict(type='PAMRRefiner')
    assert dict(config, refiner=None) == dict(plain, refiner=None)


@pytest.mark.parametrize('processes', [1, 2])
def test_jobs_are_passed_on_and_decide_nothing(tmp_path, processes):
    labels = dict(refiner='threshold', jobs=3)
    classifier = training('classifier', processes=processes)
    found = stages(tmp_path, labels=labels, classifier=classifier)
    (command,) = found['labels'].commands
    assert command[-4:] == ('--refiner', 'threshold', '--jobs', '3')
    assert '--jobs' not in found['seeds'].commands[1]
    assert changed(tmp_path, labels=labels) == set()


def accumulating(**settings):
    hook = dict(type='MapAccumulationHook', **settings)
    options = dict(custom_hooks=[dict(type='CountedRandomnessHook'), hook])
    return dict(
        classifier=training('classifier', options=options), seeds=dict(accumulated=True)
    )


@pytest.mark.parametrize('processes', [1, 2])
def test_commands_with_accumulated_seeds(tmp_path, processes):
    parts = accumulating()
    parts['classifier']['processes'] = processes
    found = stages(tmp_path, **parts)
    maps = ('--accumulated', f'{tmp_path}/classifier/accumulated')
    out = ('--out', f'{tmp_path}/labels')
    measure, make = found['seeds'].commands
    assert '--accumulated' not in measure
    assert make[-6:] == (*out, *maps, '--only', 'seeds')
    (make,) = found['labels'].commands
    assert make[-6:] == (*out, *maps, '--refiner', 'threshold')


def test_accumulated_seeds_count_for_their_stage(tmp_path):
    parts = accumulating()
    with_maps = settings_of(tmp_path, **parts)
    without = settings_of(tmp_path, classifier=parts['classifier'])
    differing = {name for name in NAMES if with_maps[name] != without[name]}
    assert differing == {'seeds'}
    assert with_maps['seeds'] == dict(without['seeds'], accumulated=True)
    plain = settings_of(tmp_path, **parts | dict(seeds=dict(accumulated=False)))
    assert plain == without


@pytest.mark.parametrize(
    'parts', [dict(seeds=dict(accumulated=True)), accumulating(out_dir='elsewhere')]
)
def test_classifiers_that_leave_no_accumulated_maps(tmp_path, parts):
    with pytest.raises(
        ConfigError, match=r"needs dict\(type='MapAccumulationHook'\), w"
    ):
        stages(tmp_path, **parts)


def test_tools_exist(tmp_path):
    several = dict(processes=2)
    parts = {name: training(name, **several) for name in ('classifier', 'segmentor')}
    for found in (stages(tmp_path), stages(tmp_path, **parts)):
        for stage in found.values():
            for command in stage.commands:
                assert (REPOSITORY / command[0]).is_file()


def test_several_processes(tmp_path):
    found = stages(tmp_path, classifier=training('classifier', processes=4))
    config, checkpoint = f'{tmp_path}/configs/classifier.py', f'{tmp_path}/classifier'
    assert found['classifier'].commands[0][:3] == ('tools/dist_train.sh', config, '4')
    measure, make = found['seeds'].commands
    assert measure[:4] == ('tools/dist_test.sh', config, checkpoint, '4')
    assert make[:4] == ('tools/dist_pseudo_labels.sh', config, checkpoint, '4')
    assert found['segmentor'].commands[0][0] == 'tools/train.py'


def test_no_stage_owns_a_file_of_another(tmp_path):
    owned = [path for stage in stages(tmp_path).values() for path in stage.files]
    for path in owned:
        assert tmp_path in path.parents
        assert not any(path in other.parents for other in owned)


def test_data_of_the_users_are_read_and_never_owned(tmp_path):
    (tmp_path / 'mine').mkdir()
    found = stages(tmp_path / 'work', data=dict(root=str(tmp_path / 'mine')))
    assert found['data'].commands == found['data'].files == ()
    with pytest.raises(ArtefactError, match='mine/ImageSets/Segmentation/train.txt'):
        found['data'].output()


def test_nothing_is_written_before_a_stage_is_prepared(tmp_path):
    found = stages(tmp_path / 'work')
    assert not (tmp_path / 'work').exists()
    for name in ('classifier', 'seeds', 'labels', 'segmentor', 'test'):
        found[name].prepare()
        (path,) = (tmp_path / 'work/configs').iterdir()
        kind = (
            'classifier' if name in ('classifier', 'seeds', 'labels') else 'segmentor'
        )
        assert path.name == f'{kind}.py'
        config = Config.fromfile(path)
        path.unlink()
        assert config.train_dataloader.dataset.data_root == f'{tmp_path}/work/data'
    assert config.train_dataloader.dataset.label_root == f'{tmp_path}/work/labels'


def test_configs_are_written_with_their_options(tmp_path):
    options = {'train_cfg.max_epochs': 2, 'model': {'localization': {'scales': [1.0]}}}
    found = stages(tmp_path, classifier=training('classifier', options=options))
    found['seeds'].prepare()
    config = Config.fromfile(tmp_path / 'configs/classifier.py')
    assert config.train_cfg.max_epochs == 2
    assert config.model.localization == dict(start_block=1, scales=[1.0])
    assert config.test_evaluator[0].out_dir == f'{tmp_path}/seeds'
    assert config.seed_dataloader.dataset.data_root == f'{tmp_path}/data'


def test_without_masks_to_measure_on(tmp_path):
    none = dict(test_dataloader=None, test_evaluator=None, test_cfg=None)
    found = stages(
        tmp_path,
        classifier=training('classifier', options=none),
        segmentor=training('segmentor', options=none),
    )
    assert list(found) == NAMES[:-1]
    (make,) = found['seeds'].commands
    assert make[0] == 'tools/generate_pseudo_labels.py'
    (tmp_path / 'labels/seeds').mkdir(parents=True)
    (tmp_path / 'labels/seeds/index.json').write_text('{}')
    assert len(found['seeds'].output()) == 64
    assert found['seeds'].quality() == {}


def test_one_evaluator_need_not_be_a_list(tmp_path):
    options = {'test_evaluator': dict(_delete_=True, type='SeedIoUMetric', split='a')}
    found = stages(tmp_path, classifier=training('classifier', options=options))
    found['seeds'].prepare()
    config = Config.fromfile(tmp_path / 'configs/classifier.py')
    assert config.test_evaluator.out_dir == f'{tmp_path}/seeds'


# ------------------------------------------------------------------ what is hashed


def test_settings_count_for_their_stage(tmp_path):
    synthetic = dict(synthetic=dict(seed=4))
    assert changed(tmp_path, data=synthetic) == {'data'}
    assert changed(tmp_path, labels=dict(refiner='pamr')) == {'labels'}
    for name, option in (
        ('classifier', {'train_cfg.max_epochs': 7}),
        ('segmentor', {'train_cfg.max_iters': 7}),
    ):
        assert changed(tmp_path, **{name: training(name, options=option)}) == {name}
        assert changed(tmp_path, **{name: training(name, processes=2)}) == {name}


def test_evaluators_count_for_their_figures_alone(tmp_path):
    option = {'test_evaluator.0.split': 'another'}
    classifier = training('classifier', options=option)
    assert changed(tmp_path, classifier=classifier) == {'seeds'}
    option = {'test_evaluator.type': 'IoUMetric'}
    assert changed(tmp_path, segmentor=training('segmentor', options=option)) == {
        'test'
    }


def test_places_count_for_nothing(tmp_path):
    assert settings_of(tmp_path / 'one') == settings_of(tmp_path / 'two')


def test_settings_are_plain(tmp_path):
    for name, settings in settings_of(tmp_path).items():
        assert json.dumps(settings) or name


def test_outputs_are_missing_before_they_are_made(tmp_path):
    for stage in stages(tmp_path).values():
        with pytest.raises(ValueError, match=str(tmp_path)):
            stage.output()


def test_output_of_seeds_is_that_of_figures_and_records(tmp_path):
    stage = stages(tmp_path)['seeds']
    figures = tmp_path / 'seeds/metrics.json'
    index = tmp_path / 'labels/seeds/index.json'
    for path in (figures, index):
        path.parent.mkdir(parents=True)
        path.write_text('{"mIoU": 1.5, "note": "text"}')
    outputs = {stage.output()}
    for path in (figures, index):
        path.write_text('{"mIoU": 2.5}')
        outputs.add(stage.output())
    assert len(outputs) == 3
    figures.write_text('{"mIoU": 1.5, "note": "text"}')
    assert stage.quality() == {'mIoU': 1.5}


def test_undecided_pixels_in_percent(tmp_path):
    (tmp_path / 'labels').mkdir()
    manifest = dict(pixels_per_class=dict(background=5, torch=1), ignored_pixels=2)
    (tmp_path / 'labels/labels.json').write_text(json.dumps(manifest))
    assert stages(tmp_path)['labels'].quality() == {'undecided': 25.0}


# --------------------------------------------------------------------- bad configs


@pytest.mark.parametrize(
    ('parts', 'message'),
    [
        (dict(data=None, segmentor=None), 'config lacks data, segmentor'),
        (dict(lables=dict(refiner='pamr')), 'no setting lables; it has classifier'),
        (dict(labels=dict(refinr='pamr')), 'labels of the .* has no setting refinr'),
        (dict(data=dict(synthetic=dict(sede=1))), 'no setting sede; it has .*seed'),
        (dict(data=dict(root='a', synthetic={})), 'either root or synthetic, got root'),
        (dict(data={}), 'either root or synthetic, got neither'),
        (dict(seeds=dict(acumulated=True)), 'seeds of the .* has no setting acumulat'),
        (dict(data='folder'), 'data of the .* has no setting folder'),
        (dict(labels=dict(refiner='pmar')), "no refiner 'pmar'; known are .*pamr"),
        (dict(labels=dict(refiner=dict(iterations=3))), 'no refiner None'),
        (
            dict(labels=dict(refiner=['pamr'])),
            r"labels.refiner .* expected a name or dict\(type=...\), got \['pamr'\]",
        ),
        (
            dict(labels=dict(refiner=dict(type='pamr', iteration=3))),
            'labels.refiner of .* has no setting iteration; it has .*iterations',
        ),
        (
            dict(labels=dict(jobs=0)),
            'labels.jobs of .* a count >= 1, got 0',
        ),
        (dict(labels=dict(jobs='2')), "labels.jobs of .* >= 1, got '2'"),
        (dict(classifier=dict(processes=2)), 'classifier of the .* lacks config'),
        (dict(segmentor=training('segmentor', option={})), 'no setting option;'),
        (
            dict(classifier=dict(config='configs/no.py')),
            'no config .*/configs/no.py',
        ),
    ],
)
def test_bad_parts(tmp_path, parts, message):
    with pytest.raises(ConfigError, match=message):
        stages(tmp_path, **parts)


@pytest.mark.parametrize(
    'options', [{'model.vieew': 1}, {'model': {'consistency': {'alhpa': 1}}, 'max': 2}]
)
def test_mistyped_options(tmp_path, options):
    options = options | {'optim_wraper.optimizer.lr': 1}
    with pytest.raises(ConfigError, match="no 'optim_wraper'|no 'max'"):
        stages(tmp_path, classifier=training('classifier', options=options))


def test_nested_options_are_options():
    nested = {'a': {'b': 1, 'c': {}}, 'a.b': 2, 'd': {'_delete_': True, 'e': {'f': 3}}}
    assert by_dotted_key(nested) == {
        'a.b': 2,
        'a.c': {},
        'd': {'_delete_': True, 'e': {'f': 3}},
    }


def test_generator_settings_are_known():
    from mmwsss.datasets.synthetic import SyntheticSettings

    assert {f.name for f in dataclasses.fields(SyntheticSettings)} == SYNTHETIC


@pytest.mark.parametrize(
    'path',
    sorted((REPOSITORY / 'configs/pipelines').glob('*.py')),
    ids=lambda path: path.stem,
)
def test_shipped_pipelines(tmp_path, path):
    config = Config.fromfile(path)
    built = StageBuilder(config, tmp_path).build()
    names = [*NAMES[:3], *REFINED, *NAMES[3:]] if 'refinement' in config else NAMES
    assert [stage.name for stage in built] == names
    assert not list(tmp_path.iterdir())
