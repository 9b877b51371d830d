"""Whole trainings in two processes: what one does, also on an uneven last batch."""

import pytest
import torch
import torch.distributed as dist
from joined_processes import run_joined
from mmengine.dist import get_rank, get_world_size
from pseudo_label_run import files_of, one_thread
from recorded_run import assert_equal_tensors, run, state_of
from tiny_rca import CLOCKS, write_rca_config
from tiny_run import tiny_config, without_slow_logging

from mmwsss.apis.launch import use_gloo
from mmwsss.datasets.synthetic import SyntheticSettings, write_synthetic

SETTINGS = SyntheticSettings(train=7, val=1, test=1, size=32)
EPOCHS = 3
MIDDLE = 3
"""Iteration between the two of the second epoch, with four images an iteration."""
DATA = {
    f'{loader}_dataloader__dataset__type': 'SyntheticTagDataset'
    for loader in ('train', 'seed', 'test')
}
AVERAGE = dict(type='EMAHook', momentum=0.1)
# each process has statistics of its own batch, as the projection takes, and dropout
RCA = dict(
    joint_batch=2,
    hooks=(*CLOCKS, AVERAGE),
    model__space='raw',
    model__backbone__norm=False,
    model__backbone__dropout=0.0,
)
ACR = dict(
    joint_batch=4,
    model__backbone__arch__pos_drop_rate=0.0,
    model__backbone__arch__proj_drop_rate=0.0,
    model__backbone__arch__drop_path_rate=0.0,
)


def config_maker(folder, data):
    """Return a function from a method, a run's name and settings to its config."""
    own = folder / f'config_{get_rank()}'
    (own / 'acr').mkdir(parents=True)
    make_rca = write_rca_config(own, data)

    def make(method, name, *, joint_batch=4, **options):
        options = dict(model__num_classes=6, train_cfg__max_epochs=EPOCHS) | options
        options['train_dataloader__batch_size'] = joint_batch // get_world_size()
        if method == 'rca':
            config = make_rca(name, **DATA, **options)
        else:
            options |= {key: DATA[key] for key in DATA if 'seed' not in key}
            config = tiny_config(own / 'acr', data, **options)
        config.work_dir = str(folder / name)
        checkpoint = dict(by_epoch=False, interval=1, max_keep_ckpts=-1)
        config.default_hooks.checkpoint.update(checkpoint)
        if get_world_size() > 1:
            config.launcher = 'pytorch'
            use_gloo(config)
        return config

    return make


def train(config, **settings):
    """Train; return all tensors, and what each iteration saw."""
    runner, seen = run(config, **settings)
    return dict(tensors=state_of(runner)[0], seen=seen)


def train_both(make):
    """Train in float64, where rounding cannot be taken for a difference of method."""
    torch.set_default_dtype(torch.float64)
    try:
        return dict(
            rca=train(make('rca', 'rca', **RCA)), acr=train(make('acr', 'acr', **ACR))
        )
    finally:
        torch.set_default_dtype(torch.float32)


def train_jointly(rank, folder, data):
    """Train what one process trains too, and a run that is stopped and resumed."""
    with pytest.MonkeyPatch.context() as patch, one_thread(patch):
        without_slow_logging(patch)
        patch.setenv('LOCAL_RANK', str(rank))
        make = config_maker(folder, data)
        found = train_both(make)
        found['straight'] = train(make('rca', 'straight'))
        train(make('rca', 'broken'), stop_at=MIDDLE)
        dist.barrier()
        found['resumed'] = train(make('rca', 'broken', resume=True))
    return found


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('joint')


@pytest.fixture(scope='module')
def runs(folder):
    """What one process gives, and what each of two."""
    write_synthetic(folder / 'data', SETTINGS)
    with pytest.MonkeyPatch.context() as patch, one_thread(patch):
        without_slow_logging(patch)
        alone = train_both(config_maker(folder / 'alone', folder / 'data'))
    return alone, run_joined(train_jointly, folder, folder, folder / 'data')


@pytest.mark.parametrize('method', ['rca', 'acr'])
def test_two_processes_train_as_one(runs, method):
    """Weights, momentum and averages, sums of all gradients; bank and prototypes."""
    alone, pair = runs
    found, expected = pair[0][method]['tensors'], alone[method]['tensors']
    assert_equal_tensors(found, expected, tolerance=1e-9)
    assert all(torch.isfinite(value).all() for value in expected.values())
    if method == 'rca':
        for name in ('memory.features', 'aggregation.prototypes'):
            assert expected[f'model {name}'].abs().sum() > 0.1


@pytest.mark.parametrize('method', ['rca', 'acr'])
def test_losses_are_those_of_the_joint_batch(runs, method):
    alone, pair = runs
    for iteration, expected in alone[method]['seen'].items():
        shares = [found[method]['seen'][iteration]['losses'] for found in pair]
        assert {frozenset(share) for share in shares} == {frozenset(expected['losses'])}
        for name, value in expected['losses'].items():
            mean = sum(share[name] for share in shares) / 2
            assert mean == pytest.approx(value, rel=1e-9), (iteration, name)


@pytest.mark.parametrize(('method', 'last', 'left'), [('rca', 3, 1), ('acr', 1, 3)])
def test_last_batches_are_uneven(runs, method, last, left):
    """Guards the tests above: of eight places the last repeats the first image."""
    alone, (first, second) = runs
    alone, first, second = (found[method]['seen'] for found in (alone, first, second))
    assert len(alone[last]['samples']) == left
    assert second[last]['samples'][-1] == first[0]['samples'][0]


@pytest.mark.parametrize('part', ['rca', 'acr', 'straight', 'resumed'])
def test_processes_agree_to_the_bit(runs, part):
    """Running statistics too, which each takes of its own images."""
    first, second = (found[part]['tensors'] for found in runs[1])
    assert_equal_tensors(first, second)
    if part == 'straight':
        assert first['model backbone.norm.running_mean'].abs().sum() > 0


@pytest.mark.parametrize('rank', [0, 1])
def test_resumed_processes_end_as_if_never_stopped(runs, folder, rank):
    straight, resumed = (runs[1][rank][part] for part in ('straight', 'resumed'))
    assert sorted(resumed['seen']) == list(range(MIDDLE, 2 * EPOCHS))
    assert resumed['seen'] == {k: straight['seen'][k] for k in resumed['seen']}
    assert_equal_tensors(resumed['tensors'], straight['tensors'])
    maps = files_of(folder / 'straight/accumulated')
    assert files_of(folder / 'broken/accumulated') == maps
    assert any(name.endswith('.seed') for name in maps)
