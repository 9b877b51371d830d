"""SEAM's configs: their networks, the paper's settings, a step and a training."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from model_builders import sample
from tiny_run import without_slow_logging

from mmwsss.apis.seeds import generate_seeds, load_tagged_images
from mmwsss.datasets.synthetic import SyntheticSettings, write_synthetic
from mmwsss.registry import MODELS

CONFIGS = Path(__file__).parents[2] / 'configs/seam'
EPOCHS = 12


def small_config(folder):
    """The embedded config on 24 generated images of 48 pixels, without testing."""
    write_synthetic(
        folder / 'data', SyntheticSettings(train=24, val=1, test=1, size=48)
    )
    config = Config.fromfile(CONFIGS / 'embedded.py')
    for part in ('train', 'seed'):
        config[f'{part}_dataloader'].dataset.data_root = str(folder / 'data')
    steps = ('CountedRandomness', 'LoadImage', 'PackWSSSInputs')
    config.train_dataloader.dataset.pipeline = [dict(type=step) for step in steps]
    config.train_dataloader.batch_size = 12
    for part in ('val', 'test'):
        for key in ('dataloader', 'evaluator', 'cfg'):
            config[f'{part}_{key}'] = None
    config.train_cfg = dict(type='ResumableEpochLoop', max_epochs=EPOCHS)
    config.param_scheduler = []
    config.optim_wrapper.optimizer.lr = 3e-3
    config.default_hooks.logger.interval = 1
    config.default_hooks.checkpoint.interval = EPOCHS
    config.work_dir = str(folder / 'work')
    return config


def test_a_training_learns_and_gives_seeds(tmp_path, monkeypatch):
    without_slow_logging(monkeypatch)
    config = small_config(tmp_path)
    runner = Runner.from_cfg(config)
    runner.train()
    history = runner.message_hub.log_scalars['train/loss_cls'].data[0]
    assert len(history) == 2 * EPOCHS
    assert history[-6:].mean() < 0.9 * history[:6].mean()
    images = load_tagged_images(config)
    checkpoint = f'{config.work_dir}/epoch_{EPOCHS}.pth'
    store = generate_seeds(config, checkpoint, images, tmp_path / 'seeds')
    peaks = []
    for name, tags in zip(images.ids, images.tags):
        record = store.read(name)
        assert record.classes == tuple(tags)
        maps = record.tensor()
        assert maps.shape == (len(tags), 6, 6) and maps.min() >= 0
        peaks += maps.amax((1, 2)).tolist()
    # a tag that is not recognized yet may have no positive value
    assert sum(peak > 0.99 for peak in peaks) > 0.8 * len(peaks)


def build(path, **backbone):
    config = Config.fromfile(path)
    config.model.backbone.update(backbone)
    with DefaultScope.overwrite_default_scope('mmwsss'):
        return config, MODELS.build(config.model)


def test_levels_of_the_configs_are_those_of_their_networks():
    """On the meta device: shapes alone."""
    found = {}
    for path in sorted(CONFIGS.glob('*.py')):
        with torch.device('meta'):
            config, model = build(path)
            *levels, features = model.backbone(torch.zeros(1, 3, 96, 96))
            found[path.stem] = tuple(model.head(features).shape[1:])
        widths = [conv.in_channels for conv in model.correlation.reduce]
        assert [level.shape[1] for level in levels] == widths
        assert 'CountedRandomnessHook' in {hook.type for hook in config.custom_hooks}
    assert found == dict(
        embedded=(6, 12, 12), lite0_voc=(20, 6, 6), resnet38_voc=(20, 12, 12)
    )


def test_a_step_on_the_network_for_photographs():
    torch.manual_seed(0)
    config, model = build(CONFIGS / 'lite0_voc.py', pretrained=False)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    before = {name: value.clone() for name, value in model.named_parameters()}
    pixels = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    samples = [sample([i, 5], sample_idx=i) for i in (0, 1)]
    data = dict(inputs=list(pixels), data_samples=samples)
    losses = model.train_step(data, wrapper)
    assert losses.keys() == {'loss', 'loss_cls', 'loss_er', 'loss_ecr'}
    assert all(torch.isfinite(value) for value in losses.values())
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    still = {n for n in trained if torch.equal(before[n], model.get_parameter(n))}
    assert not still


def test_settings_of_the_paper():
    with torch.device('meta'):
        config, model = build(CONFIGS / 'resnet38_voc.py')
    assert (model.hard_ratio, model.view.factor) == (0.2, (0.3, 0.3))
    assert (model.er_weight, model.ecr_weight) == (1.0, 1.0)
    assert [conv.out_channels for conv in model.correlation.reduce] == [64, 128]
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    groups = wrapper.optimizer.param_groups
    names = {parameter: name for name, parameter in model.named_parameters()}
    rates = {names[g['params'][0]]: g['lr'] for g in groups}
    assert rates['backbone.conv1a.weight'] == 0
    assert rates['backbone.b5_1.conv_branch2a.weight'] == pytest.approx(0.01)
    assert rates['head.classify.weight'] == pytest.approx(0.1)
    assert rates['correlation.embed.weight'] == pytest.approx(0.1)
    assert {g['weight_decay'] for g in groups} == {5e-4}
    (schedule,) = config.param_scheduler
    assert (schedule.type, schedule.power, schedule.end) == ('PolyLR', 0.9, 8)
    assert config.train_cfg.max_epochs == 8
    assert config.auto_scale_lr.base_batch_size == 8
    resize, crop = (config.train_pipeline[i] for i in (2, -2))
    longest = [round(448 * ratio) for ratio in resize.ratio_range]
    assert longest == [448, 768] and crop.crop_size == (448, 448)
    assert not any(step.type == 'Resize' for step in config.test_pipeline)
