"""train.py and test.py: what they do, and what they say of bad input."""

import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from tiny_run import ROOT, without_slow_logging, write_tiny_config

from mmwsss.apis.launch import run_tool
from mmwsss.utils.checkpoint import read_checkpoint

TOOLS = ROOT / 'tools'


def load_tool(name):
    spec = importlib.util.spec_from_file_location(f'tool_{name}', TOOLS / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


train, test = load_tool('train'), load_tool('test')


@pytest.fixture
def call(tmp_path, voc_root, monkeypatch, capfd):
    """Run a tool's main on the tiny config, as from a shell."""
    without_slow_logging(monkeypatch)
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.chdir(tmp_path)
    counter = iter(range(99))

    def call(tool, *arguments, config=None, work_dir=None, options=()):
        config = config or write_tiny_config(tmp_path, voc_root)
        work_dir = work_dir or tmp_path / 'work'
        # mmengine keeps one logger and visualizer a name and process.
        name = f'experiment_name=run{os.getpid()}_{next(counter)}_{tmp_path.name}'
        options = ['--cfg-options', name, *options]
        line = [str(config), *map(str, arguments), '--work-dir', str(work_dir)]
        monkeypatch.setattr(sys, 'argv', [tool.__name__, *line, *options])
        capfd.readouterr()
        run_tool(tool.main)

    return call


@pytest.fixture
def fails(call, capfd):
    """Return the one line on stderr of a tool that must exit with 1."""

    def fails(tool, *arguments, **settings):
        with pytest.raises(SystemExit) as stop:
            call(tool, *arguments, **settings)
        assert stop.value.code == 1
        lines = capfd.readouterr().err.strip().splitlines()
        lines = [line for line in lines if 'Error: ' in line or 'Traceback' in line]
        assert len(lines) == 1, lines
        return lines[0]

    return fails


SHORT = ('train_cfg.max_epochs=1',)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A checkpoint of the tiny model as mmengine writes it, made once."""
    return tmp_path_factory.mktemp('trained') / 'work/epoch_1.pth'


@pytest.fixture
def checkpoint(trained, call):
    if not trained.exists():
        call(train, options=SHORT, work_dir=trained.parent)
    return trained


# ------------------------------------------------------------------- what they do


def test_train_goes_on_from_the_last_checkpoint_or_a_named_one(call, tmp_path):
    options = ('train_cfg.max_epochs=2', 'default_hooks.checkpoint.max_keep_ckpts=-1')
    call(train, options=options)
    work = tmp_path / 'work'
    expected = read_checkpoint(work / 'epoch_2.pth')['state_dict']
    for resume in (['--resume'], ['--resume', work / 'epoch_1.pth']):
        (work / 'epoch_2.pth').unlink()
        (work / 'last_checkpoint').write_text(str(work / 'epoch_1.pth'))
        call(train, *resume, options=options)
        checkpoint = read_checkpoint(work / 'epoch_2.pth')
        assert checkpoint['meta']['iter'] == 8
        found = checkpoint['state_dict']
        assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_resume_of_a_new_run_begins_it(call, tmp_path):
    call(train, '--resume', options=SHORT)
    assert (tmp_path / 'work/epoch_1.pth').is_file()


def test_amp_trains_in_bfloat16_on_this_device(call, tmp_path, checkpoint):
    call(train, '--amp', options=SHORT)
    found = read_checkpoint(tmp_path / 'work/epoch_1.pth')['state_dict']
    exact = read_checkpoint(checkpoint)['state_dict']
    assert {weight.dtype for weight in found.values()} == {torch.float32}
    gaps = [(found[key] - exact[key]).abs().max().item() for key in exact]
    assert 0 < max(gaps) < 0.05
    config = Config.fromfile(tmp_path / 'work/tiny.py')
    assert config.optim_wrapper.type == 'mmwsss.Bf16OptimWrapper'


def test_resume_fetches_no_official_weights(call, checkpoint, monkeypatch):
    def fetch(self):
        raise AssertionError('initialized again')

    kind = 'mmwsss.models.backbones.attention_vit.AttentionViT'
    monkeypatch.setattr(f'{kind}.init_weights', fetch)
    call(train, '--resume', checkpoint, options=SHORT)


def shell(script, *arguments, cwd):
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable}
    environment.pop('LOCAL_RANK', None)
    result = subprocess.run(
        ['bash', str(TOOLS / script), *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


def test_two_processes_train_and_measure_as_one(call, tmp_path, voc_root):
    split = voc_root / 'ImageSets/Segmentation/train.txt'
    config = write_tiny_config(tmp_path, voc_root)
    work = ('--work-dir', tmp_path / 'pair')
    text = shell(
        'dist_train.sh', config, 2, *work, '--cfg-options', *SHORT,
        'train_dataloader.batch_size=1', cwd=tmp_path,
    )  # fmt: skip
    assert 'Epoch(train) [1][4/4]' in text
    split.write_text(''.join(split.read_text().splitlines(keepends=True)[:7]))
    checkpoint = tmp_path / 'pair/epoch_1.pth'
    pair, alone = tmp_path / 'of_pair', tmp_path / 'of_one'
    shell(
        'dist_test.sh', config, checkpoint, 2, *work,
        '--cfg-options', f'test_evaluator.0.out_dir={pair}', cwd=tmp_path,
    )  # fmt: skip
    call(test, checkpoint, options=[f'test_evaluator.0.out_dir={alone}'])
    found, expected = (np.load(p / 'seed_histogram.npz') for p in (pair, alone))
    assert found['num_images'] == expected['num_images'] == 7
    assert found['histogram'].sum() > 0
    np.testing.assert_array_equal(found['histogram'], expected['histogram'])


# -------------------------------------------------------------------- bad options


@pytest.mark.parametrize(
    ('option', 'parts'),
    [
        ('optim_wraper.optimizer.lr=1', ["'optim_wraper'", "'optim_wrapper'"]),
        ('default_hooks.loger.interval=1', ["'loger'", "'logger'"]),
        ('env_cfg.cudnn_bench=1', ["'cudnn_bench'", "'cudnn_benchmark'"]),
        ('custom_hooks.7.interval=1', ['custom_hooks.7.interval', "no '7'"]),
        ('custom_hooks.first.interval=1', ["no 'first'"]),
        ('train_cfg.max_epochs.more=1', ["no 'more'", 'a plain value']),
    ],
)
def test_mistyped_option(fails, option, parts):
    line = fails(train, options=[option])
    assert line.startswith('ConfigError: --cfg-options ')
    assert all(part in line for part in parts)


@pytest.mark.parametrize(
    ('option', 'parts'),
    [
        ('model.num_clases=3', ['num_clases']),
        ('model.localization.start_blok=1', ['start_blok']),
        ('model.backbone.arch.dept=1', ['dept']),
        ('optim_wrapper.optimizer.momentun=1', ['momentun']),
        ('train_dataloader.drop_lst=True', ['drop_lst']),
        ('randomness.determinstic=True', ['determinstic']),
        ('model.backbone.type=AttentonViT', ['AttentonViT', 'registry']),
    ],
)
def test_mistyped_constructor_key(fails, option, parts):
    line = fails(train, options=[option])
    assert line.startswith('ConfigError: ')
    assert all(part in line for part in parts)


def test_options_may_add_arguments(call):
    call(
        train,
        options=[
            *SHORT,
            'train_dataloader.drop_last=True',
            'randomness.deterministic=False',
            'model.localization.scales=(1.0,0.5)',
            'optim_wrapper.clip_grad.max_norm=1.0',
        ],
    )


def test_amp_refuses_other_wrappers(fails):
    options = ['optim_wrapper.type=AmpOptimWrapper']
    line = fails(train, '--amp', options=options)
    assert (
        line
        == 'ConfigError: --amp replaces OptimWrapper; the config uses AmpOptimWrapper'
    )


def test_missing_config(fails, tmp_path):
    line = fails(train, config=tmp_path / 'absent.py')
    assert line.startswith(f'ConfigError: no config {tmp_path}/absent.py: neither a')


def test_work_directory_below_a_file(fails, tmp_path):
    (tmp_path / 'file').touch()
    line = fails(train, work_dir=tmp_path / 'file/work')
    assert f'{tmp_path}/file/work cannot be written' in line
    assert '--work-dir' in line


def test_launcher_without_cuda(fails):
    if torch.cuda.is_available():
        pytest.skip('there is CUDA')
    line = fails(train, '--launcher', 'slurm')
    assert line.startswith('ConfigError: --launcher slurm needs CUDA')


# ---------------------------------------------------------------- bad checkpoints


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def broken(checkpoint, tmp_path):
    """A checkpoint with a fault, by name, and what the message must say."""

    def broken(fault):
        path = tmp_path / f'{fault}.pth'
        whole = read_checkpoint(checkpoint)
        state = whole['state_dict']
        if fault == 'cut':
            path.write_bytes(checkpoint.read_bytes()[:-2000])
        elif fault == 'trap':
            torch.save(dict(whole, trap=Trap(tmp_path / 'sprung')), path)
        elif fault == 'pickle':
            path.write_bytes(pickle.dumps(Trap(tmp_path / 'sprung')))
        elif fault == 'foreign':
            foreign = {'conv.weight': torch.zeros(2)}
            torch.save(dict(whole, state_dict=foreign), path)
        elif fault == 'lacking':
            name = 'backbone.vit.blocks.1.norm1.weight'
            kept = {key: value for key, value in state.items() if key != name}
            torch.save(dict(whole, state_dict=kept), path)
        elif fault == 'classes':
            state['cls_head.weight'] = state['cls_head.weight'][:7].clone()
            torch.save(whole, path)
        return path

    return broken


@pytest.mark.parametrize(
    ('fault', 'parts'),
    [
        ('absent', ['no checkpoint at']),
        ('cut', ['cannot be read as a checkpoint', 'cut short']),
        ('trap', ['objects other than', 'plain state dict']),
        ('pickle', []),
        ('foreign', ['belongs to another model']),
        ('lacking', ['blocks.1.norm1.weight is absent there', 'the config it was']),
        ('classes', ['cls_head.weight is (7, 24) there and (20, 24) here']),
    ],
)
@pytest.mark.parametrize('tool', ['test', 'resume'])
def test_bad_checkpoint(fails, broken, tmp_path, fault, parts, tool):
    path = broken(fault)
    call = (test, path) if tool == 'test' else (train, '--resume', path)
    line = fails(*call)
    assert line.startswith('CheckpointError: ')
    assert all(part in line for part in [str(path), *parts])
    assert not (tmp_path / 'sprung').exists()


def test_other_head_may_start_a_training_only_if_shapes_fit(fails, call, broken):
    call(train, options=[*SHORT, f'load_from={broken("lacking")}'])
    line = fails(train, options=[*SHORT, f'load_from={broken("classes")}'])
    assert 'cls_head.weight is (7, 24) there and (20, 24) here' in line


# ----------------------------------------------------------------------- bad data


def test_missing_data(fails, tmp_path):
    options = [f'train_dataloader.dataset.data_root={tmp_path}/nowhere']
    line = fails(train, options=options)
    assert line.startswith(f'DataError: {tmp_path}/nowhere does not exist; set ')


def test_corrupt_image_met_by_a_worker(fails, voc_root):
    (voc_root / 'JPEGImages/2007_000003.jpg').write_bytes(b'no image')
    line = fails(train, options=['train_dataloader.num_workers=1'])
    assert line.startswith('DataError: image cannot be read: ')
    assert '2007_000003.jpg' in line and 'take it off the split' in line
