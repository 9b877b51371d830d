"""What a pipeline config may state: its parts, and what they need of one another."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from mmengine.config import Config

from mmwsss.refiners import refiner_names, refiner_type
from mmwsss.refiners.network_refiner import NetworkRefiner
from mmwsss.utils.errors import ConfigError

TRAINING = frozenset({'config', 'options', 'processes'})
PARTS = {
    'data': frozenset({'root', 'synthetic'}),
    'classifier': TRAINING,
    'seeds': frozenset({'accumulated'}),
    'refinement': TRAINING | {'labels', 'jobs'},
    'labels': frozenset({'refiner', 'jobs'}),
    'segmentor': TRAINING,
}
"""What a pipeline config may state."""
OPTIONAL = frozenset({'seeds', 'refinement', 'labels'})
TRAINED = ('classifier', 'refinement', 'segmentor')
"""Parts with a network to train."""
SYNTHETIC = frozenset({'seed', 'train', 'val', 'test', 'size'})
NETWORK_PLACES = frozenset({'config', 'checkpoint'})
"""Settings of a refiner with a network that the pipeline itself gives."""
EXAMPLE = (
    "refinement = dict(config='configs/refinement/irn_embedded.py', "
    "labels=dict(type='threshold', background_threshold=0.1, foreground_threshold=0.3))"
)


def check_parts(config: Mapping[str, Any]) -> None:
    """Check that a pipeline config states what it must and nothing unknown.

    Raises:
        ConfigError: naming the part that is missing, unknown or does not fit others.
    """
    check_names('the pipeline config', config, PARTS)
    missing = PARTS.keys() - OPTIONAL - config.keys()
    if missing:
        raise ConfigError(f'the pipeline config lacks {", ".join(sorted(missing))}')
    for name, part in config.items():
        check_names(f'{name} of the pipeline config', part, PARTS[name])
    needed = [(name, 'config') for name in TRAINED] + [('refinement', 'labels')]
    for name, setting in needed:
        if name in config and setting not in config[name]:
            raise ConfigError(f'{name} of the pipeline config lacks {setting}')
    if len(config['data']) != 1:
        raise ConfigError(
            'data of the pipeline config must have either root or synthetic, got '
            f'{", ".join(config["data"]) or "neither"}'
        )
    synthetic = config['data'].get('synthetic', {})
    check_names('data.synthetic of the pipeline config', synthetic, SYNTHETIC)
    for name in ('refinement', 'labels'):
        jobs = config.get(name, {}).get('jobs', 1)
        if not isinstance(jobs, int) or jobs < 1:
            raise ConfigError(
                f'{name}.jobs of the pipeline config: expected a count >= 1, got '
                f'{jobs!r}'
            )
    _check_labels(config.get('labels', {}), config.get('refinement'))


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


def check_refinement(
    refinement: Config, path: str, refiner: str | Mapping[str, Any]
) -> None:
    """Check that a network learns from a folder of labels, and is the refiner's.

    Args:
        refinement: Config of the training.
        path: Where it was read from, for the message.
        refiner: The one that shall run the network.

    Raises:
        ConfigError: if not.
    """
    loader = refinement.get('train_dataloader') or {}
    if 'label_root' not in loader.get('dataset', {}):
        raise ConfigError(
            f'refinement.config of the pipeline config: {path} has no '
            'train_dataloader.dataset.label_root; name a config that trains on pseudo '
            'labels, like those in configs/refinement'
        )
    networks = {_network_of(n): n for n in refiner_names() if with_network(n)}
    trained, wanted = refinement.model.type.split('.')[-1], _network_of(refiner)
    # a network that no refiner names may be derived from the wanted one
    if trained in networks and trained != wanted:
        raise ConfigError(
            f'refinement.config of the pipeline config: {path} trains the network '
            f'{trained} of {networks[trained]}, labels.refiner {_name(refiner)} runs '
            f'{wanted}: choose the config or the refiner that fits the other'
        )


def with_network(refiner: str | Mapping[str, Any] | None) -> bool:
    """Tell whether a refiner runs a network that must be trained first.

    Raises:
        ConfigError: if there is no such refiner.
    """
    return refiner is not None and issubclass(refiner_type(refiner), NetworkRefiner)


def check_names(where: str, found: Any, known: Collection[str]) -> None:
    """Check that settings have known names.

    Args:
        where: What they belong to, for the message.
        found: The settings; what is no mapping counts as a name itself.
        known: The names that there are.

    Raises:
        ConfigError: naming the unknown ones.
    """
    names = found.keys() if isinstance(found, Mapping) else [found]
    unknown = [str(name) for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f'{where} has no setting {", ".join(unknown)}; it has '
            f'{", ".join(sorted(known))}'
        )


def _check_labels(
    labels: Mapping[str, Any], refinement: Mapping[str, Any] | None
) -> None:
    """Check the refiners, and that a network is trained where one is used."""
    refiner = labels.get('refiner')
    if refiner is not None:
        _check_refiner('labels.refiner', refiner)
    if with_network(refiner) and refinement is None:
        raise ConfigError(
            f'labels.refiner of the pipeline config, {_name(refiner)}, needs a trained '
            f'network: add {EXAMPLE}, with the config of its own network'
        )
    if refinement is None:
        return
    _check_refiner('refinement.labels', refinement['labels'])
    if with_network(refinement['labels']):
        raise ConfigError(
            'refinement.labels of the pipeline config are what the network learns '
            f'from: {_name(refinement["labels"])} needs it trained; choose a refiner '
            'without a network, e.g. threshold or densecrf'
        )
    if not with_network(refiner):
        known = ', '.join(name for name in refiner_names() if with_network(name))
        raise ConfigError(
            'refinement of the pipeline config trains a network that labels.refiner, '
            f'{_name(refiner)}, does not use: choose a refiner with a network ({known})'
            ' there, or take refinement off'
        )


def _check_refiner(where: str, refiner: Any) -> None:
    """Check a refiner's name and those of its settings, without building it."""
    where = f'{where} of the pipeline config'
    if not isinstance(refiner, (str, Mapping)):
        raise ConfigError(
            f'{where}: expected a name or dict(type=...), got {refiner!r}'
        )
    given = {} if isinstance(refiner, str) else {k: refiner[k] for k in refiner}
    given.pop('type', None)
    known = _settings_of(refiner)
    if with_network(refiner):
        stated = ', '.join(sorted(NETWORK_PLACES & given.keys()))
        if stated:
            raise ConfigError(
                f'{where} states {stated}: the pipeline gives the network that its '
                'stage refinement trains; take that off'
            )
        known = known - NETWORK_PLACES
    check_names(where, given, known)


def _settings_of(refiner: str | Mapping[str, Any]) -> frozenset[str]:
    return frozenset(field.name for field in fields(refiner_type(refiner)))


def _network_of(refiner: str | Mapping[str, Any]) -> str:
    found = refiner_type(refiner)
    return found.network if issubclass(found, NetworkRefiner) else ''


def _name(refiner: str | Mapping[str, Any] | None) -> str:
    name = refiner.get('type') if isinstance(refiner, Mapping) else refiner
    return str(name or "the config's own")
