"""The stages of a pipeline config: which tool runs on which files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from mmwsss.apis.launch import config_with
from mmwsss.apis.pipeline import REPOSITORY, Stage
from mmwsss.apis.pipeline_parts import (
    TRAINED,
    check_accumulates,
    check_parts,
    check_refinement,
    with_network,
)
from mmwsss.utils.artefact_store import INDEX
from mmwsss.utils.checkpoint import find_checkpoint, read_checkpoint
from mmwsss.utils.digests import digest_file, digest_json, digest_tensors

LOADERS = ('train', 'val', 'test', 'seed')
LISTS = ('ann_file', 'tag_file')
METRICS = 'metrics.json'
MANIFEST = 'labels.json'
ACCUMULATED = 'accumulated'
WHOLE = frozenset({'type', '_delete_'})
"""Keys of a dict that is one value of an option, not several options."""


class StageBuilder:
    """Make the stages of a pipeline config.

    The config states ``data`` (``root`` of an existing data set, or ``synthetic`` with
    the generator's settings), ``classifier`` and ``segmentor`` (``config``, and
    optionally ``options``, as for ``--cfg-options``, and ``processes``), optionally
    ``seeds`` (``accumulated``: whether they are the maps that the classifier's training
    accumulated; the figures stay those of the classifier's own) and ``labels``
    (``refiner``, a name or a dict of settings; ``jobs``, processes that refine, on the
    processor where there are several). What cannot be measured for want of masks is
    left out: without the classifier's ``test_dataloader`` seeds have no figures,
    without the segmentor's there is no stage ``test``.

    For a refiner with a network of its own the config states ``refinement`` as well:
    what ``classifier`` states, and the refiner ``labels`` and ``jobs`` of the affinity
    labels that the network learns from. They are made of the same seeds, and the
    network's config and weights are given to the refiner here.

    Args:
        config: The pipeline config.
        work_dir: Folder of the run.

    Raises:
        ConfigError: if a part is missing, unknown or does not fit the others, or an
            option names no setting.
    """

    def __init__(self, config: Config, work_dir: str | Path) -> None:
        parts = config._cfg_dict.to_dict()
        check_parts(parts)
        self.work_dir = Path(work_dir).resolve()
        self.data = parts['data']
        trained = [name for name in TRAINED if name in parts]
        self.processes = {n: int(parts[n].get('processes', 1)) for n in trained}
        self.configs = {name: self._settings(parts[name]) for name in trained}
        self._read_labels_from('segmentor', self.labels)
        self.accumulated = bool(parts.get('seeds', {}).get('accumulated'))
        if self.accumulated:
            check_accumulates(self.configs['classifier'])
        metrics = self.configs['classifier'].get('test_evaluator') or []
        for metric in metrics if isinstance(metrics, list) else [metrics]:
            if metric.type == 'SeedIoUMetric':
                metric.out_dir = str(self.work_dir / 'seeds')
        self.refiner = parts.get('labels', {}).get('refiner')
        makers = dict(labels='labels', affinity_labels='refinement')
        self.jobs = {n: parts.get(p, {}).get('jobs', 1) for n, p in makers.items()}
        self.affinity_refiner = None
        if 'refinement' in parts:
            path = parts['refinement']['config']
            check_refinement(self.configs['refinement'], path, self.refiner)
            self.affinity_refiner = parts['refinement']['labels']
            self._read_labels_from('refinement', self.affinity_labels)
            self._configure_refiner('affinity_labels', self.affinity_refiner)
        if isinstance(self.refiner, dict) or with_network(self.refiner):
            self._configure_refiner('labels', self.refiner)

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

    @property
    def affinity_labels(self) -> Path:
        """Folder of the labels that a refinement network learns from."""
        return self.work_dir / 'affinity_labels'

    def build(self) -> list[Stage]:
        """Return all stages in their order."""
        stages = [
            self._data(),
            self._training('classifier'),
            self._seeds(),
        ]
        if 'refinement' in self.configs:
            affinity = ('--label-out', str(self.affinity_labels))
            stages += [
                self._labels('affinity_labels', self.affinity_refiner, *affinity),
                self._training('refinement'),
            ]
        stages += [
            self._labels('labels', self.refiner),
            self._training('segmentor'),
        ]
        if self.configs['segmentor'].get('test_dataloader'):
            stages.append(self._test())
        return stages

    def _settings(self, part: Mapping[str, Any]) -> Config:
        options = by_dotted_key(part.get('options', {}))
        config = config_with(REPOSITORY / part['config'], options)
        for loader in LOADERS:
            if config.get(f'{loader}_dataloader'):
                config[f'{loader}_dataloader'].dataset.data_root = str(self.data_root)
        return config

    def _read_labels_from(self, name: str, folder: Path) -> None:
        self.configs[name].train_dataloader.dataset.label_root = str(folder)

    def _configure_refiner(self, name: str, refiner: str | Mapping[str, Any]) -> None:
        """Give a stage of labels a config of its own with a refiner's settings."""
        settings = dict(type=refiner) if isinstance(refiner, str) else dict(refiner)
        if with_network(refiner):
            settings['config'] = str(self._config_path('refinement'))
            settings['checkpoint'] = str(self.work_dir / 'refinement')
        self.configs[name] = deepcopy(self.configs['classifier'])
        self.configs[name].refiner = ConfigDict(settings)
        self.processes[name] = self.processes['classifier']

    def _config_path(self, name: str) -> Path:
        return self.work_dir / 'configs' / f'{name}.py'

    def _write_config(self, *names: str) -> None:
        for name in names:
            path = self._config_path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            self.configs[name].dump(path)

    def _data(self) -> Stage:
        settings = dict(self.data.get('synthetic', {}))
        command = ['tools/dataset_converters/synthetic.py', str(self.data_root)]
        for key, value in settings.items():
            command += [f'--{key}', str(value)]
        return Stage(
            name='data',
            commands=(tuple(command),) if 'synthetic' in self.data else (),
            files=(self.data_root,) if 'synthetic' in self.data else (),
            settings=settings,
            output=self._digest_lists,
            quality=dict,
        )

    def _digest_lists(self) -> str:
        """Digest of the lists of images and tags that the classifier reads."""
        digests = {}
        for loader in LOADERS:
            loaded = self.configs['classifier'].get(f'{loader}_dataloader') or {}
            dataset = loaded.get('dataset', {})
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
            files=(folder,),
            settings=dict(config=self._portable(name), processes=self.processes[name]),
            output=lambda: self._digest_weights(name),
            quality=dict,
            prepare=lambda: self._write_config(name),
        )

    def _digest_weights(self, name: str) -> str:
        checkpoint = find_checkpoint(self.work_dir / name)
        return digest_tensors(read_checkpoint(checkpoint)['state_dict'])

    def _seeds(self) -> Stage:
        folder, seeds = self.work_dir / 'seeds', self.labels / 'seeds'
        metrics = folder / METRICS
        measured = bool(self.configs['classifier'].get('test_dataloader'))
        measure = (self._measure('classifier', folder),) if measured else ()
        made = (metrics, seeds / INDEX) if measured else (seeds / INDEX,)
        return Stage(
            name='seeds',
            commands=(*measure, self._label('classifier', '--only', 'seeds')),
            files=(folder, seeds),
            settings=self._seed_settings(),
            output=lambda: digest_json([digest_file(path) for path in made]),
            quality=lambda: _read_json(metrics) if measured else {},
            prepare=lambda: self._write_config('classifier'),
        )

    def _seed_settings(self) -> dict[str, Any]:
        classifier = self.configs['classifier']
        settings = dict(evaluator=_without_places(classifier, 'test_evaluator'))
        # named where it holds alone: finished pipelines stay valid
        return settings | (dict(accumulated=True) if self.accumulated else {})

    def _labels(
        self, name: str, refiner: str | Mapping[str, Any] | None, *arguments: str
    ) -> Stage:
        folder = self.work_dir / name
        manifest = folder / MANIFEST
        config = name if name in self.configs else 'classifier'
        if refiner and config == 'classifier':
            arguments = (*arguments, '--refiner', str(refiner))
        if self.jobs[name] > 1:
            arguments = (*arguments, '--jobs', str(self.jobs[name]))
        written = [config] + (['refinement'] if with_network(refiner) else [])
        return Stage(
            name=name,
            commands=(self._label(config, *arguments),),
            files=(folder / 'labels', manifest),
            settings=dict(refiner=refiner),
            output=lambda: digest_file(manifest),
            quality=lambda: _undecided(manifest),
            prepare=lambda: self._write_config(*written),
        )

    def _test(self) -> Stage:
        folder, segmentor = self.work_dir / 'test', self.configs['segmentor']
        return Stage(
            name='test',
            commands=(self._measure('segmentor', folder),),
            files=(folder,),
            settings=dict(evaluator=_without_places(segmentor, 'test_evaluator')),
            output=lambda: digest_file(folder / METRICS),
            quality=lambda: _read_json(folder / METRICS),
            prepare=lambda: self._write_config('segmentor'),
        )

    def _measure(self, name: str, folder: Path) -> tuple[str, ...]:
        """Return the command that measures a trained part into a folder."""
        trained, metrics = str(self.work_dir / name), str(folder / METRICS)
        places = ('--work-dir', str(folder), '--metrics', metrics)
        return self._tool('test', name, trained, *places)

    def _label(self, config: str, *arguments: str) -> tuple[str, ...]:
        """Return the command of seeds and labels by a config."""
        trained = str(self.work_dir / 'classifier')
        places = ['--out', str(self.labels)]
        if self.accumulated:
            places += ['--accumulated', str(self.work_dir / 'classifier' / ACCUMULATED)]
        return self._tool('pseudo_labels', config, trained, *places, *arguments)

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
        settings = self.configs[name]._cfg_dict.to_dict()
        for loader in LOADERS:
            dataset = (settings.get(f'{loader}_dataloader') or {}).get('dataset', {})
            for place in ('data_root', 'label_root'):
                dataset.pop(place, None)
        settings.pop('test_evaluator', None)  # decides no weight, and names a folder
        return settings


def by_dotted_key(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested options by dotted keys, as a command line has them.

    Example:
        >>> by_dotted_key({'a.b': 1, 'c': {'d': 2}, 'e': {'type': 'E'}})
        {'a.b': 1, 'c.d': 2, 'e': {'type': 'E'}}
    """
    flat: dict[str, Any] = {}
    for key, value in options.items():
        if isinstance(value, Mapping) and value and not WHOLE & value.keys():
            inner = by_dotted_key(value)
            flat.update({f'{key}.{name}': item for name, item in inner.items()})
        else:
            flat[key] = value
    return flat


def _without_places(config: Config, name: str) -> Any:
    """Return the evaluators of a config without the folders they write to."""
    settings = config._cfg_dict.to_dict().get(name)
    for metric in settings if isinstance(settings, list) else [settings]:
        if isinstance(metric, dict):
            metric.pop('out_dir', None)
    return settings


def _read_json(path: Path) -> dict[str, float]:
    figures = json.loads(path.read_text())
    return {key: value for key, value in figures.items() if isinstance(value, float)}


def _undecided(path: Path) -> dict[str, float]:
    manifest = json.loads(path.read_text())
    ignored = manifest['ignored_pixels']
    pixels = sum(manifest['pixels_per_class'].values()) + ignored
    return dict(undecided=round(100 * ignored / pixels, 2))
