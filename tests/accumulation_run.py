"""A tiny training of ACR that accumulates the maps of four images, for tests."""

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from pseudo_label_run import keep_images, write_config

from mmwsss.apis.accumulation import MapAccumulator

COUNT = 4
IDS = [f'2007_00000{n}' for n in range(1, COUNT + 1)]
EPOCHS = 5
SCHEDULE = dict(begin=1, interval=1, epochs=5)
HOOKS = [dict(type='CountedRandomnessHook'), dict(type='MapAccumulationHook')]


def config_maker(folder, voc_root):
    """Return a function from a run's name and settings to its config."""
    keep_images(voc_root, COUNT)
    path = write_config(folder, voc_root)

    def make(name, *, hook=None, **options):
        config = Config.fromfile(path)
        config.work_dir = str(folder / name)
        config.train_cfg.max_epochs = EPOCHS
        config.custom_hooks = [HOOKS[0], dict(HOOKS[1], **(hook or {}))]
        config.merge_from_dict({k.replace('__', '.'): v for k, v in options.items()})
        return config

    return make


def run(config):
    """Train, and return the runner."""
    DefaultScope('mmwsss_test_accumulation', scope_name='mmwsss')
    runner = Runner.from_cfg(config)
    runner.train()
    return runner


def accumulated(config):
    """Return the folder of a run's maps."""
    return Path(config.work_dir) / 'accumulated'


def accumulator(config, folder, **settings):
    """Return an accumulator that begins."""
    settings = dict(schedule=SCHEDULE, gate=0.1, keep=2) | settings
    DefaultScope.get_instance('mmwsss_test_accumulation', scope_name='mmwsss')
    found = MapAccumulator(config=config, folder=folder, **settings)
    found.restore([])
    return found
