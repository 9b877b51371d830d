"""The stages of a pipeline config: which tool runs on which files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmwsss.apis.launch import check_options
from mmwsss.apis.pipeline import REPOSITORY, Stage
from mmwsss.utils.checkpoint import find_checkpoint, read_checkpoint
from mmwsss.utils.digests import digest_file, digest_json, digest_tensors
from mmwsss.utils.errors import ConfigError

LOADERS = ('train', 'val', 'test', 'seed')
LISTS = ('ann_file', 'tag_file')


class StageBuilder:
    """Make the stages of a pipeline config.

    The config states ``data`` (``root`` of an existing data set, or ``synthetic`` with
    the generator's settings), ``classifier`` and ``segmentor`` (``config``, and
    optionally ``options``, as for ``--cfg-options``, and ``processes``), optionally
    ``labels`` (``refiner``).

    Args:
        config: The pipeline config.
        work_dir: Folder of the run.

    Raises:
        ConfigError: if a part is missing, or an option names no setting.
    """

    def __init__(self, config: Config, work_dir: str | Path) -> None:
        missing = {'data', 'classifier', 'segmentor'} - set(config)
        if missing:
            raise ConfigError(f'the pipeline config lacks {", ".join(sorted(missing))}')
        self.work_dir = Path(work_dir).resolve()
        self.processes = {
            name: int(config[name].get('processes', 1))
            for name in ('classifier', 'segmentor')
        }
        self.data = dict(config.data)
        self.refiner = dict(config.get('labels', {})).get('refiner')
        self.classifier = self._settings(config.classifier)
        self.segmentor = self._settings(config.segmentor)
        self.segmentor.train_dataloader.dataset.label_root = str(self.labels)
        for metric in self.classifier.test_evaluator:
            if metric.type == 'SeedIoUMetric':
                metric.out_dir = str(self.work_dir / 'seeds')

    @property
    def data_root(self) -> Path:
        """Folder of the data set."""
        if 'synthetic' in self.data:
            return self.work_dir / 'data'
        return Path(self.data['root']).resolve()

    @property
    def labels(self) -> Path:
        """Folder of pseudo labels and their manifest."""
        return self.work_dir / 'labels'

    def build(self) -> list[Stage]:
        """Return all stages in their order, and write the configs they run on."""
        for name in ('classifier', 'segmentor'):
            self._config_path(name).parent.mkdir(parents=True, exist_ok=True)
            getattr(self, name).dump(self._config_path(name))
        return [
            self._data(),
            self._training('classifier'),
            self._seeds(),
            self._labels(),
            self._training('segmentor'),
            self._test(),
        ]

    def _settings(self, part: Mapping[str, Any]) -> Config:
        config = Config.fromfile(REPOSITORY / part['config'])
        options = dict(part.get('options', {}))
        check_options(config, options)
        config.merge_from_dict(options)
        for loader in LOADERS:
            if config.get(f'{loader}_dataloader'):
                config[f'{loader}_dataloader'].dataset.data_root = str(self.data_root)
        return config

    def _config_path(self, name: str) -> Path:
        return self.work_dir / 'configs' / f'{name}.py'

    def _data(self) -> Stage:
        settings = dict(self.data.get('synthetic', {}))
        command = ['tools/dataset_converters/synthetic.py', str(self.data_root)]
        for key, value in settings.items():
            command += [f'--{key}', str(value)]
        return Stage(
            name='data',
            commands=(tuple(command),) if 'synthetic' in self.data else (),
            settings=settings,
            output=self._digest_lists,
            quality=dict,
        )

    def _digest_lists(self) -> str:
        """Digest of the lists of images and tags that the classifier reads."""
        digests = {}
        for loader in LOADERS:
            dataset = self.classifier.get(f'{loader}_dataloader', {}).get('dataset', {})
            for name in LISTS:
                if dataset.get(name):
                    path = self.data_root / dataset[name]
                    digests[f'{loader} {name}'] = digest_file(path)
        return digest_json(digests)

    def _training(self, name: str) -> Stage:
        folder = self.work_dir / name
        return Stage(
            name=name,
            commands=(
                self._tool(
                    'train', name, '--work-dir', str(folder), '--resume', 'auto'
                ),
            ),
            settings=self._portable(name),
            output=lambda: self._digest_weights(name),
            quality=dict,
        )

    def _digest_weights(self, name: str) -> str:
        checkpoint = find_checkpoint(self.work_dir / name)
        return digest_tensors(read_checkpoint(checkpoint)['state_dict'])

    def _seeds(self) -> Stage:
        folder = self.work_dir / 'seeds'
        metrics = folder / 'metrics.json'
        checkpoint = str(self.work_dir / 'classifier')
        return Stage(
            name='seeds',
            commands=(
                self._tool(
                    'test',
                    'classifier',
                    checkpoint,
                    *('--work-dir', str(folder), '--metrics', str(metrics)),
                ),
                self._tool(
                    'pseudo_labels',
                    'classifier',
                    checkpoint,
                    *('--out', str(self.labels), '--only', 'seeds'),
                ),
            ),
            settings={},
            output=lambda: digest_file(metrics),
            quality=lambda: _read_json(metrics),
        )

    def _labels(self) -> Stage:
        manifest = self.labels / 'labels.json'
        checkpoint = str(self.work_dir / 'classifier')
        refiner = ('--refiner', self.refiner) if self.refiner else ()
        return Stage(
            name='labels',
            commands=(
                self._tool(
                    'pseudo_labels',
                    'classifier',
                    checkpoint,
                    *('--out', str(self.labels), *refiner),
                ),
            ),
            settings=dict(refiner=self.refiner),
            output=lambda: digest_file(manifest),
            quality=lambda: _undecided(manifest),
        )

    def _test(self) -> Stage:
        folder = self.work_dir / 'test'
        metrics = folder / 'metrics.json'
        checkpoint = str(self.work_dir / 'segmentor')
        return Stage(
            name='test',
            commands=(
                self._tool(
                    'test',
                    'segmentor',
                    checkpoint,
                    *('--work-dir', str(folder), '--metrics', str(metrics)),
                ),
            ),
            settings={},
            output=lambda: digest_file(metrics),
            quality=lambda: _read_json(metrics),
        )

    def _tool(self, tool: str, config: str, *arguments: str) -> tuple[str, ...]:
        """Return the command of a tool, with several processes where asked for."""
        path = str(self._config_path(config))
        single = {'pseudo_labels': 'generate_pseudo_labels'}.get(tool, tool)
        processes = self.processes[config]
        if processes == 1:
            return (f'tools/{single}.py', path, *arguments)
        position = 0 if tool == 'train' else 1
        before, after = arguments[:position], arguments[position:]
        return (f'tools/dist_{tool}.sh', path, *before, str(processes), *after)

    def _portable(self, name: str) -> dict[str, Any]:
        """Return a config's settings without the places of its files."""
        settings = getattr(self, name)._cfg_dict.to_dict()
        for loader in LOADERS:
            dataset = (settings.get(f'{loader}_dataloader') or {}).get('dataset', {})
            for place in ('data_root', 'label_root'):
                dataset.pop(place, None)
        settings.pop('test_evaluator')  # decides no weight, and names a folder
        return settings


def _read_json(path: Path) -> dict[str, float]:
    figures = json.loads(path.read_text())
    return {key: value for key, value in figures.items() if isinstance(value, float)}


def _undecided(path: Path) -> dict[str, float]:
    manifest = json.loads(path.read_text())
    ignored = manifest['ignored_pixels']
    pixels = sum(manifest['pixels_per_class'].values()) + ignored
    return dict(undecided=round(100 * ignored / pixels, 2))
