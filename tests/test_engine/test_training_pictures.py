"""Pictures of real trainings: which, when, by whom, and without a trace."""

from pathlib import Path

import numpy as np
import pytest
import torch
from joined_processes import run_joined
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner
from PIL import Image
from pseudo_label_run import one_thread
from recorded_run import assert_equal_states, assert_equal_tensors, run, state_of
from tiny_rca import CLOCKS, write_rca_config
from tiny_run import ROOT, tiny_config, without_slow_logging

from mmwsss.apis.launch import use_gloo
from mmwsss.datasets.synthetic import SyntheticSettings, write_synthetic
from mmwsss.engine.hooks import TrainingPicturesHook
from mmwsss.models.classifiers import WSSSClassifier
from mmwsss.registry import HOOKS
from mmwsss.utils.errors import ConfigError

EPOCH_ITERS, EPOCHS = 4, 2  # 8 images, 2 an iteration
OF_ACR = ['attention_views', 'heat_maps', 'patch_affinity']
OF_RCA = ['heat_maps', 'memory_bank']
AVERAGE = dict(type='EMAHook', momentum=0.1)


def drawing(name, **settings):
    """Return the options of a run that draws."""
    return dict(
        visualizer__type='WSSSVisualizer',
        # mmengine finds visualizers by name, also those of a run before
        visualizer__name=name,
        visualizer__vis_backends=[dict(type='AtomicLocalVisBackend')],
        default_hooks__training_pictures=dict(
            type='TrainingPicturesHook',
            **dict(dict(images=1, loader='test_dataloader'), **settings),
        ),
    )


def pictures(config):
    """Return the files of all pictures of a run, by name."""
    found = Path(config.work_dir).glob('*/vis_data/vis_image/*.png')
    return {path.name: path for path in found}


@pytest.fixture
def make(tmp_path, voc_root, monkeypatch):
    """Return a function from a method, a run's name and options to its config."""
    without_slow_logging(monkeypatch)
    make_rca = write_rca_config(tmp_path, voc_root)

    def make(name, *, method='acr', **options):
        options = dict(train_cfg__max_epochs=EPOCHS) | options
        if method == 'rca':
            config = make_rca(name, hooks=(*CLOCKS, AVERAGE), **options)
        else:
            config = tiny_config(tmp_path, voc_root, **options)
        config.work_dir = str(tmp_path / name)
        return config

    with one_thread(monkeypatch):
        yield make


@pytest.mark.parametrize(
    ('method', 'options', 'names'),
    [
        # gradients of an odd iteration wait while the pictures of an epoch are drawn
        ('acr', dict(optim_wrapper__accumulative_counts=3), OF_ACR),
        ('rca', {}, OF_RCA),
    ],
    ids=['acr', 'rca'],
)
def test_a_run_that_draws_is_the_same_to_the_bit(make, method, options, names):
    plain, expected = run(make('plain', method=method, **options))
    settings = options | drawing('drawn', initial=True)
    drawn, found = run(make('drawn', method=method, **settings))
    assert found == expected
    assert_equal_states(drawn, plain)
    steps = [epoch * EPOCH_ITERS for epoch in range(EPOCHS + 1)]
    assert sorted(pictures(drawn.cfg)) == sorted(
        f'{name}_{step}.png' for name in names for step in steps
    )
    for name in names:
        first, last = (
            np.asarray(Image.open(pictures(drawn.cfg)[f'{name}_{step}.png']))
            for step in (steps[0], steps[-1])
        )
        assert first.shape == last.shape and (first != last).any()
    assert not pictures(plain.cfg)


def test_resumed_pictures_are_those_of_a_straight_run(make):
    straight, _ = run(make('straight', **drawing('straight')))
    run(make('broken', **drawing('broken')), stop_at=EPOCH_ITERS + 2)
    resumed, _ = run(make('broken', **drawing('again'), resume=True))
    assert_equal_states(straight, resumed)
    expected = {
        name: path.read_bytes() for name, path in pictures(straight.cfg).items()
    }
    found = {name: path.read_bytes() for name, path in pictures(resumed.cfg).items()}
    assert found == expected and len(found) == EPOCHS * len(OF_ACR)


def test_interval_last_epoch_and_images_by_name(make, monkeypatch):
    shown = []
    observe = WSSSClassifier.observe

    def noted(model, data):
        shown.append(Path(data['data_samples'][0].img_path).stem)
        return observe(model, data)

    monkeypatch.setattr(WSSSClassifier, 'observe', noted)
    names = ['2007_000005', '2007_000002']
    config = make(
        'named',
        method='rca',
        train_cfg__max_epochs=3,
        **drawing('named', interval=2, images=names, loader='seed_dataloader'),
    )
    run(config)
    assert shown == 2 * names
    assert sorted(pictures(config)) == sorted(
        f'{name}_{step}.png' for name in OF_RCA for step in (8, 12)
    )


def test_curve_of_the_thresholds_is_among_the_pictures(make):
    settings = drawing('validated', loader=None)
    config = make('validated', train_cfg__max_epochs=1, **settings)
    config.val_dataloader = config.test_dataloader
    config.val_evaluator = config.test_evaluator
    config.val_cfg = ConfigDict(type='ValLoop')
    runner, _ = run(config)
    (hook,) = (h for h in runner.hooks if isinstance(h, TrainingPicturesHook))
    assert hook._images.dataset is runner.val_dataloader.dataset
    kinds = {name.rpartition('_')[0] for name in pictures(config)}
    assert kinds == {*OF_ACR, 'seed_curve'}


def test_runtime_with_pictures_is_the_default_one_besides():
    folder = ROOT / 'configs/_base_'
    plain = Config.fromfile(folder / 'default_runtime.py')
    config = Config.fromfile(folder / 'training_pictures.py')
    hook = config.default_hooks.pop('training_pictures')
    assert HOOKS.build(hook).images == 4
    assert config.default_hooks == plain.default_hooks
    assert config.visualizer.type == 'WSSSVisualizer'
    for name in ('visualizer', 'vis_backends'):
        config.pop(name), plain.pop(name)
    assert config.to_dict() == plain.to_dict()


# ---------------------------------------------------------------- processes

SETTINGS = SyntheticSettings(train=7, val=1, test=3, size=32)


def train_jointly(rank, folder, data):
    """Train in one of two processes."""
    observed = []
    with pytest.MonkeyPatch.context() as patch, one_thread(patch):
        without_slow_logging(patch)
        patch.setenv('LOCAL_RANK', str(rank))
        observe = WSSSClassifier.observe
        noted = lambda model, data: observed.append(rank) or observe(model, data)
        patch.setattr(WSSSClassifier, 'observe', noted)
        kinds = {
            f'{loader}_dataloader__dataset__type': 'SyntheticTagDataset'
            for loader in ('train', 'test')
        }
        own = folder / f'config_{rank}'
        own.mkdir()
        options = dict(model__num_classes=6, train_cfg__max_epochs=1, **kinds)
        config = tiny_config(own, data, **options, **drawing('joint'))
        config.work_dir = str(folder / 'joint')
        config.launcher = 'pytorch'
        use_gloo(config)
        tensors, _ = state_of(run(config)[0])
    return dict(tensors=tensors, observed=len(observed))


def test_one_process_draws_and_all_end_alike(tmp_path):
    write_synthetic(tmp_path / 'data', SETTINGS)
    first, second = run_joined(train_jointly, tmp_path, tmp_path, tmp_path / 'data')
    assert (first['observed'], second['observed']) == (1, 0)
    assert_equal_tensors(first['tensors'], second['tensors'])
    drawn = sorted(path.name for path in (tmp_path / 'joint').rglob('*.png'))
    assert drawn == [f'{name}_2.png' for name in OF_ACR]


# ------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    'settings', [dict(interval=0), dict(images=0), dict(images=[]), dict(images=-1)]
)
def test_values_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError, match='expected interval >= 1 and images >= 1 or'):
        TrainingPicturesHook(**settings)


def test_unknown_loaders_are_refused():
    with pytest.raises(
        ConfigError, match="loader: expected one of .*'train_dataloader'"
    ):
        TrainingPicturesHook(loader='train_dataloader')


def by_iteration(config):
    config.train_cfg = ConfigDict(type='IterBasedTrainLoop', max_iters=2)
    config.train_dataloader.sampler.type = 'InfiniteCountedSampler'
    config.log_processor.by_epoch = False
    config.default_hooks.checkpoint.by_epoch = False


def with_mmengines_visualizer(config):
    config.visualizer.type = 'Visualizer'


def without_loader(config):
    config.default_hooks.training_pictures.loader = 'val_dataloader'


def with_another_name(config):
    config.default_hooks.training_pictures.images = '2007_000099'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (by_iteration, "set train_cfg.type='ResumableEpochLoop'"),
        (with_mmengines_visualizer, "set visualizer.type='WSSSVisualizer'"),
        (
            without_loader,
            'the config has no val_dataloader; set loader to one of .*test',
        ),
        (
            with_another_name,
            r"images='2007_000099' is not in the data set of 8 images \(2007_000001, ",
        ),
    ],
)
def test_what_does_not_fit_is_told_before_training(make, change, message):
    config = make('refused', **drawing(f'refused_{change.__name__}'))
    change(config)
    runner = Runner.from_cfg(config)
    with pytest.raises(ConfigError, match=message):
        runner.train()
    assert runner.iter == 0


def test_models_that_show_nothing_are_refused(make):
    runner = Runner.from_cfg(make('other', **drawing('other')))
    runner.model = torch.nn.Linear(1, 1)
    hook = TrainingPicturesHook()
    with pytest.raises(
        ConfigError, match='calls observe.., which Linear does not have'
    ):
        hook.before_train(runner)
