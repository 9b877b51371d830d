"""Pipelines with a refinement network: stages, settings that count, bad configs."""

import dataclasses
import json
from dataclasses import dataclass

import pytest
from mmengine.config import Config

from mmwsss.apis.pipeline import REPOSITORY
from mmwsss.apis.pipeline_stages import StageBuilder
from mmwsss.refiners import refiner_type
from mmwsss.refiners.network_refiner import NetworkRefiner
from mmwsss.registry import REFINERS
from mmwsss.utils.errors import ConfigError

NAMES = ['data', 'classifier', 'seeds', 'affinity_labels', 'refinement']
NAMES += ['labels', 'segmentor', 'test']
BAND = dict(type='threshold', background_threshold=0.1, foreground_threshold=0.3)
# any training on pseudo labels stands for that of the network
NETWORK = 'configs/segmentation/deeplabv2_embedded.py'
CONFIG = dict(
    data=dict(synthetic=dict(seed=3, train=5)),
    classifier=dict(config='configs/acr/hybrid_embedded.py'),
    refinement=dict(config=NETWORK, labels=BAND),
    labels=dict(refiner=dict(type='standin', background_threshold=0.25)),
    segmentor=dict(config='configs/segmentation/deeplabv2_embedded.py'),
)


@dataclass(frozen=True, kw_only=True)
class StandInRefiner(NetworkRefiner):
    """A refiner that asks for a network."""

    network = 'EncoderDecoder'


@pytest.fixture(autouse=True)
def known_refiner(monkeypatch):
    REFINERS.import_from_location()
    monkeypatch.setitem(REFINERS.module_dict, 'StandInRefiner', StandInRefiner)


def stages(work_dir, **parts):
    built = StageBuilder(Config(CONFIG | parts), work_dir).build()
    return {stage.name: stage for stage in built}


def settings_of(work_dir, **parts):
    return {name: stage.settings for name, stage in stages(work_dir, **parts).items()}


def changed(work_dir, **parts):
    """Return the stages whose own settings differ from the plain config's."""
    plain = settings_of(work_dir)
    return {n for n, s in settings_of(work_dir, **parts).items() if s != plain[n]}


def refinement(**settings):
    return dict(refinement=CONFIG['refinement'] | settings)


# ------------------------------------------------------------------------ commands


def test_commands_of_the_stages(tmp_path):
    found = stages(tmp_path)
    assert list(found) == NAMES
    tool, trained = 'tools/generate_pseudo_labels.py', f'{tmp_path}/classifier'
    out = ('--out', f'{tmp_path}/labels')
    assert found['affinity_labels'].commands == (
        (tool, f'{tmp_path}/configs/affinity_labels.py', trained)
        + (*out, '--label-out', f'{tmp_path}/affinity_labels'),
    )
    assert found['refinement'].commands == (
        ('tools/train.py', f'{tmp_path}/configs/refinement.py', '--work-dir')
        + (f'{tmp_path}/refinement', '--resume', 'auto'),
    )
    assert found['labels'].commands == (
        (tool, f'{tmp_path}/configs/labels.py', trained, *out),
    )


def test_jobs_and_processes(tmp_path):
    labels = CONFIG['labels'] | dict(jobs=2)
    found = stages(tmp_path, labels=labels, **refinement(processes=4, jobs=3))
    for name, jobs in dict(affinity_labels='3', labels='2').items():
        assert found[name].commands[0][-2:] == ('--jobs', jobs)
    assert found['refinement'].commands[0][:3] == (
        *('tools/dist_train.sh', f'{tmp_path}/configs/refinement.py', '4'),
    )
    classifier = CONFIG['classifier'] | dict(processes=2)
    found = stages(tmp_path, classifier=classifier)
    for name in ('affinity_labels', 'labels'):
        assert found[name].commands[0][0] == 'tools/dist_pseudo_labels.sh'
        assert found[name].commands[0][3] == '2'


def test_accumulated_seeds_make_both_kinds_of_labels(tmp_path):
    options = dict(custom_hooks=[dict(type='MapAccumulationHook')])
    parts = dict(
        classifier=CONFIG['classifier'] | dict(options=options),
        seeds=dict(accumulated=True),
    )
    found = stages(tmp_path, **parts)
    for name in ('affinity_labels', 'labels'):
        place = found[name].commands[0].index('--accumulated')
        store = found[name].commands[0][place + 1]
        assert store == f'{tmp_path}/classifier/accumulated'


def test_no_stage_owns_a_file_of_another(tmp_path):
    owned = [path for stage in stages(tmp_path).values() for path in stage.files]
    assert len(owned) == len(set(owned))
    for path in owned:
        assert tmp_path in path.parents
        assert not any(path in other.parents for other in owned)


def test_configs_of_the_stages(tmp_path):
    found = stages(tmp_path, **refinement(options={'train_cfg.max_iters': 7}))
    found['affinity_labels'].prepare()
    found['labels'].prepare()
    written = {path.stem for path in (tmp_path / 'configs').iterdir()}
    assert written == {'affinity_labels', 'refinement', 'labels'}
    read = {n: Config.fromfile(tmp_path / f'configs/{n}.py') for n in written}
    assert read['affinity_labels'].refiner == BAND
    assert read['labels'].refiner == dict(
        type='standin',
        background_threshold=0.25,
        config=f'{tmp_path}/configs/refinement.py',
        checkpoint=f'{tmp_path}/refinement',
    )
    network = read['refinement']
    assert network.train_cfg.max_iters == 7
    dataset = network.train_dataloader.dataset
    assert dataset.data_root == f'{tmp_path}/data'
    assert dataset.label_root == f'{tmp_path}/affinity_labels'
    for name in ('affinity_labels', 'labels'):
        assert read[name].seed_dataloader.dataset.data_root == f'{tmp_path}/data'


def test_a_refiner_may_be_a_name(tmp_path):
    stages(tmp_path, labels=dict(refiner='standin'))['labels'].prepare()
    config = Config.fromfile(tmp_path / 'configs/labels.py')
    assert config.refiner.type == 'standin'
    assert config.refiner.checkpoint == f'{tmp_path}/refinement'
    found = stages(tmp_path, **refinement(labels='threshold'))
    found['affinity_labels'].prepare()
    config = Config.fromfile(tmp_path / 'configs/affinity_labels.py')
    assert config.refiner == dict(type='threshold')


# ------------------------------------------------------------------ what is hashed


def test_settings_count_for_their_stage(tmp_path):
    other = refinement(labels=BAND | dict(foreground_threshold=0.4))
    assert changed(tmp_path, **other) == {'affinity_labels'}
    for settings in (dict(options={'train_cfg.max_iters': 7}), dict(processes=2)):
        assert changed(tmp_path, **refinement(**settings)) == {'refinement'}
    refiner = dict(type='standin', background_threshold=0.3)
    assert changed(tmp_path, labels=dict(refiner=refiner)) == {'labels'}
    jobs = dict(labels=CONFIG['labels'] | dict(jobs=2), **refinement(jobs=3))
    assert changed(tmp_path, **jobs) == set()


def test_places_count_for_nothing(tmp_path):
    assert settings_of(tmp_path / 'one') == settings_of(tmp_path / 'two')


def test_settings_are_plain(tmp_path):
    for name, settings in settings_of(tmp_path).items():
        assert json.dumps(settings) or name


def test_other_stages_are_those_of_a_chain_without_a_network(tmp_path):
    """Finished stages before the labels serve any refiner."""
    parts = {name: part for name, part in CONFIG.items() if name != 'refinement'}
    parts['labels'] = dict(refiner='pamr')
    plain = StageBuilder(Config(parts), tmp_path).build()
    found = settings_of(tmp_path)
    for stage in plain:
        assert (found[stage.name] == stage.settings) == (stage.name != 'labels')


def test_undecided_pixels_of_the_affinity_labels(tmp_path):
    (tmp_path / 'affinity_labels').mkdir()
    manifest = dict(pixels_per_class=dict(background=5, torch=1), ignored_pixels=2)
    (tmp_path / 'affinity_labels/labels.json').write_text(json.dumps(manifest))
    stage = stages(tmp_path)['affinity_labels']
    assert stage.quality() == {'undecided': 25.0}
    assert len(stage.output()) == 64


# --------------------------------------------------------------------- bad configs


@pytest.mark.parametrize(
    ('parts', 'message'),
    [
        (
            dict(refinement=None),
            'labels.refiner of .*, standin, needs a trained network: add refinement = ',
        ),
        (
            dict(labels=dict(refiner='pamr')),
            r'refinement of .* labels.refiner, pamr, does not use: .*\(.*standin.*\)',
        ),
        (dict(labels=None), "labels.refiner, the config's own, does not use"),
        (
            dict(labels=dict(refiner=dict(type='standin', checkpoint='a'))),
            'labels.refiner of .* states checkpoint: the pipeline gives',
        ),
        (
            dict(labels=dict(refiner=dict(type='standin', bakground=0.1))),
            'labels.refiner of .* no setting bakground; it has .*background_thr',
        ),
        (refinement(labels='standin'), 'refinement.labels of .* standin needs it tra'),
        (refinement(labels=dict(type='no')), "no refiner 'no'"),
        (refinement(labels=BAND | dict(alpha=4)), 'refinement.labels .* no setting al'),
        (refinement(jobs=0), 'refinement.jobs of .* a count >= 1, got 0'),
        (refinement(label=BAND), 'refinement of .* has no setting label;'),
        (dict(refinement=dict(config=NETWORK)), 'refinement of .* lacks labels'),
        (dict(refinement=dict(labels=BAND)), 'refinement of .* lacks config'),
        (refinement(config='configs/no.py'), 'no config .*/configs/no.py'),
        (
            refinement(config='configs/acr/hybrid_embedded.py'),
            'refinement.config of .*hybrid_embedded.py has no train_dataloader.dataset'
            '.label_root; name a config',
        ),
        (
            dict(labels=dict(refiner='psa')),
            'trains the network EncoderDecoder of standin, labels.refiner psa runs PS',
        ),
        (refinement(options={'train_cfgg.max_iters': 3}), "no 'train_cfgg'"),
    ],
)
def test_bad_parts(tmp_path, parts, message):
    config = {k: part for k, part in (CONFIG | parts).items() if part is not None}
    with pytest.raises(ConfigError, match=message):
        StageBuilder(Config(config), tmp_path)


def test_a_network_derived_from_the_refiners_is_left_to_it(tmp_path):
    found = stages(tmp_path, **refinement(options={'model.type': 'Derived'}))
    assert found['refinement'].settings['config']['model']['type'] == 'Derived'


def test_the_network_is_no_setting_that_is_offered(tmp_path):
    names = {field.name for field in dataclasses.fields(StandInRefiner)}
    assert names > {'config', 'checkpoint'}
    refiner = dict(type='standin', x=1)
    with pytest.raises(ConfigError, match='it has alpha, background_threshold, expon'):
        stages(tmp_path, labels=dict(refiner=refiner))


# ----------------------------------------------------------------- shipped configs

SHIPPED = [
    f'{method}_{data}_{refiner}'
    for method in ('acr', 'rca')
    for data in ('voc', 'coco', 'embedded')
    for refiner in ('psa', 'irn')
]
PUBLISHED = dict(
    psa=dict(type='densecrf', preset='cam', alpha=4.0, background_alpha=16.0),
    irn=dict(
        type='densecrf',
        preset='irn',
        certainty=0.7,
        background_threshold=0.05,
        foreground_threshold=0.3,
    ),
)
SEEDS_BAND = dict(type='threshold', background_threshold=0.4, foreground_threshold=0.7)
NETWORKS = dict(psa='psa_resnet38', irn='irn_r50')
FOLDER = REPOSITORY / 'configs/pipelines'


@pytest.mark.parametrize('name', SHIPPED)
def test_shipped_pipelines_with_a_network(tmp_path, name):
    base, refiner = name.rsplit('_', 1)
    data = base.split('_')[1]
    path = FOLDER / f'{name}.py'
    assert len(path.read_text().splitlines()) <= 12
    config, plain = Config.fromfile(path), Config.fromfile(FOLDER / f'{base}.py')
    for part in ('data', 'classifier', 'seeds', 'segmentor'):
        assert config.get(part) == plain.get(part)
    assert config.labels == dict(refiner=dict(type=refiner))
    embedded = data == 'embedded'
    network = f'{refiner}_embedded' if embedded else f'{NETWORKS[refiner]}_{data}'
    assert config.refinement.config == f'configs/refinement/{network}.py'
    assert config.refinement.labels == (SEEDS_BAND if embedded else PUBLISHED[refiner])
    assert [stage.name for stage in StageBuilder(config, tmp_path).build()] == NAMES
    trained = Config.fromfile(REPOSITORY / config.refinement.config)
    assert trained.model.type == refiner_type(refiner).network


@pytest.mark.parametrize('method', ['acr', 'rca'])
def test_shipped_pipelines_with_a_crf(tmp_path, method):
    path = FOLDER / f'{method}_voc_crf.py'
    config = Config.fromfile(path)
    refiner = dict(type='densecrf', preset='cam', alpha=4.0)
    assert config.labels == dict(refiner=refiner)
    plain = Config.fromfile(FOLDER / f'{method}_voc.py')
    assert dict(config, labels=None) == dict(plain, labels=None)
