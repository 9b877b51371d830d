"""The stages of a pipeline config: which tool runs on which files."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmwsss.apis.launch import config_with
from mmwsss.apis.pipeline import REPOSITORY, Stage
from mmwsss.utils.artefact_store import INDEX
from mmwsss.utils.checkpoint import find_checkpoint, read_checkpoint
from mmwsss.utils.digests import digest_file, digest_json, digest_tensors
from mmwsss.utils.errors import ConfigError

LOADERS = ('train', 'val', 'test', 'seed')
LISTS = ('ann_file', 'tag_file')
METRICS = 'metrics.json'
ACCUMULATED = 'accumulated'
TRAINING = frozenset({'config', 'options', 'processes'})
PARTS = {
    'data': frozenset({'root', 'synthetic'}),
    'classifier': TRAINING,
    'seeds': frozenset({'accumulated'}),
    'labels': frozenset({'refiner'}),
    'segmentor': TRAINING,
}
"""What a pipeline config may state."""
SYNTHETIC = frozenset({'seed', 'train', 'val', 'test', 'size'})
WHOLE = frozenset({'type', '_delete_'})
"""Keys of a dict that is one value of an option, not several options."""


class StageBuilder:
    """Make the stages of a pipeline config.

    The config states ``data`` (``root`` of an existing data set, or ``synthetic`` with
    the generator's settings), ``classifier`` and ``segmentor`` (``config``, and
    optionally ``options``, as for ``--cfg-options``, and ``processes``), optionally
    ``seeds`` (``accumulated``: whether they are the maps that the classifier's training
    accumulated; the figures stay those of the classifier's own) and ``labels``
    (``refiner``). What cannot be measured for want of masks is left out:
    without the classifier's ``test_dataloader`` seeds have no figures, without the
    segmentor's there is no stage ``test``.

    Args:
        config: The pipeline config.
        work_dir: Folder of the run.

    Raises:
        ConfigError: if a part is missing or unknown, or an option names no setting.
    """

    def __init__(self, config: Config, work_dir: str | Path) -> None:
        check_parts(config._cfg_dict.to_dict())
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
        self.accumulated = bool(dict(config.get('seeds', {})).get('accumulated'))
        if self.accumulated:
            check_accumulates(self.classifier)
        metrics = self.classifier.get('test_evaluator') or []
        for metric in metrics if isinstance(metrics, list) else [metrics]:
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
        """Return all stages in their order."""
        stages = [
            self._data(),
            self._training('classifier'),
            self._seeds(),
            self._labels(),
            self._training('segmentor'),
        ]
        if self.segmentor.get('test_dataloader'):
            stages.append(self._test())
        return stages

    def _settings(self, part: Mapping[str, Any]) -> Config:
        options = by_dotted_key(part.get('options', {}))
        config = config_with(REPOSITORY / part['config'], options)
        for loader in LOADERS:
            if config.get(f'{loader}_dataloader'):
                config[f'{loader}_dataloader'].dataset.data_root = str(self.data_root)
        return config

    def _config_path(self, name: str) -> Path:
        return self.work_dir / 'configs' / f'{name}.py'

    def _write_config(self, name: str) -> None:
        path = self._config_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        getattr(self, name).dump(path)

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
            dataset = (self.classifier.get(f'{loader}_dataloader') or {}).get(
                'dataset', {}
            )
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
        measured = bool(self.classifier.get('test_dataloader'))
        measure = (self._measure('classifier', folder),) if measured else ()
        made = (metrics, seeds / INDEX) if measured else (seeds / INDEX,)
        return Stage(
            name='seeds',
            commands=(*measure, self._label('--only', 'seeds')),
            files=(folder, seeds),
            settings=self._seed_settings(),
            output=lambda: digest_json([digest_file(path) for path in made]),
            quality=lambda: _read_json(metrics) if measured else {},
            prepare=lambda: self._write_config('classifier'),
        )

    def _seed_settings(self) -> dict[str, Any]:
        settings = dict(evaluator=_without_places(self.classifier, 'test_evaluator'))
        # named where it holds alone: finished pipelines stay valid
        return settings | (dict(accumulated=True) if self.accumulated else {})

    def _labels(self) -> Stage:
        manifest = self.labels / 'labels.json'
        refiner = ('--refiner', self.refiner) if self.refiner else ()
        return Stage(
            name='labels',
            commands=(self._label(*refiner),),
            files=(self.labels / 'labels', manifest),
            settings=dict(refiner=self.refiner),
            output=lambda: digest_file(manifest),
            quality=lambda: _undecided(manifest),
            prepare=lambda: self._write_config('classifier'),
        )

    def _test(self) -> Stage:
        folder = self.work_dir / 'test'
        return Stage(
            name='test',
            commands=(self._measure('segmentor', folder),),
            files=(folder,),
            settings=dict(evaluator=_without_places(self.segmentor, 'test_evaluator')),
            output=lambda: digest_file(folder / METRICS),
            quality=lambda: _read_json(folder / METRICS),
            prepare=lambda: self._write_config('segmentor'),
        )

    def _measure(self, name: str, folder: Path) -> tuple[str, ...]:
        """Return the command that measures a trained part into a folder."""
        trained, metrics = str(self.work_dir / name), str(folder / METRICS)
        places = ('--work-dir', str(folder), '--metrics', metrics)
        return self._tool('test', name, trained, *places)

    def _label(self, *arguments: str) -> tuple[str, ...]:
        """Return the command of seeds and labels."""
        trained = str(self.work_dir / 'classifier')
        places = ['--out', str(self.labels)]
        if self.accumulated:
            places += ['--accumulated', str(self.work_dir / 'classifier' / ACCUMULATED)]
        return self._tool('pseudo_labels', 'classifier', trained, *places, *arguments)

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
        settings.pop('test_evaluator', None)  # decides no weight, and names a folder
        return settings


def check_parts(config: Mapping[str, Any]) -> None:
    """Check that a pipeline config states what it must and nothing unknown.

    Raises:
        ConfigError: naming the part that is missing or unknown.
    """
    _check_names('the pipeline config', config, PARTS)
    missing = PARTS.keys() - {'seeds', 'labels'} - config.keys()
    if missing:
        raise ConfigError(f'the pipeline config lacks {", ".join(sorted(missing))}')
    for name, part in config.items():
        _check_names(f'{name} of the pipeline config', part, PARTS[name])
    for name in ('classifier', 'segmentor'):
        if 'config' not in config[name]:
            raise ConfigError(f'{name} of the pipeline config lacks config')
    if len(config['data']) != 1:
        raise ConfigError(
            'data of the pipeline config must have either root or synthetic, got '
            f'{", ".join(config["data"]) or "neither"}'
        )
    synthetic = config['data'].get('synthetic', {})
    _check_names('data.synthetic of the pipeline config', synthetic, SYNTHETIC)


def check_accumulates(classifier: Config) -> None:
    """Check that a classifier's training leaves accumulated maps in its work directory.

    Raises:
        ConfigError: if not.
    """
    hooks = [
        hook
        for hook in classifier.get('custom_hooks', [])
        if hook.type == 'MapAccumulationHook'
    ]
    if not hooks or hooks[0].get('out_dir'):
        raise ConfigError(
            'seeds.accumulated of the pipeline config needs '
            "dict(type='MapAccumulationHook'), without out_dir, among custom_hooks of "
            "the classifier's config"
        )


def _check_names(where: str, found: Any, known: Collection[str]) -> None:
    names = found.keys() if isinstance(found, Mapping) else [found]
    unknown = [str(name) for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f'{where} has no setting {", ".join(unknown)}; it has '
            f'{", ".join(sorted(known))}'
        )


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
