"""What the converters of the authors' released weights share.

A converter asks for each weight of the mmwsss model by its released name, so that a
missing one is named as its owner knows it, and says which released weights have no
place in mmwsss; any other that is left is an error.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

from mmwsss.apis.launch import config_with
from mmwsss.models.classifiers import WSSSClassifier
from mmwsss.registry import DATASETS, MODELS
from mmwsss.utils.atomic import atomic_writer
from mmwsss.utils.checkpoint import read_checkpoint
from mmwsss.utils.config_files import OptionAction
from mmwsss.utils.errors import CheckpointError, ConfigError

WRAPPER = 'module.'
"""What data-parallel training puts before each name."""
KEPT_META = ('classes', 'palette')
CONFIGS = Path(__file__).parents[2] / 'configs'


class ReleasedWeights:
    """A released state dict, of which every tensor must be accounted for.

    Args:
        path: File of ``torch.save``: a state dict, or a dict with a ``state_dict``.

    Raises:
        CheckpointError: if it cannot be read safely or holds no tensors.
    """

    def __init__(self, path: str | Path) -> None:
        content = read_checkpoint(path)
        state = content.get('state_dict', content)
        tensors = isinstance(state, dict) and all(
            isinstance(value, Tensor) for value in state.values()
        )
        if not tensors or not state:
            raise CheckpointError(
                f'{path} holds no state dict of tensors; name the file of weights that '
                'the released training wrote'
            )
        self.path = path
        epoch = content.get('epoch')
        self.epoch = epoch if isinstance(epoch, int) else None
        self._left = {str(k).removeprefix(WRAPPER): v for k, v in state.items()}

    def names(self) -> list[str]:
        """Return the names that were neither taken nor dropped."""
        return list(self._left)

    def take(self, name: str) -> Tensor:
        """Return a weight and account for it.

        Raises:
            CheckpointError: if there is none of that name.
        """
        if name not in self._left:
            raise CheckpointError(
                f'{self.path} lacks {name}; it is of another network than the config '
                "says, or not of the authors' release"
            )
        return self._left.pop(name)

    def drop(self, *prefixes: str) -> None:
        """Account for weights that have no place in mmwsss, by how names begin."""
        self._left = {k: v for k, v in self._left.items() if not k.startswith(prefixes)}

    def finish(self) -> None:
        """Check that nothing is left.

        Raises:
            CheckpointError: if a weight was neither taken nor dropped.
        """
        if self._left:
            raise CheckpointError(
                f'{self.path} has {len(self._left)} weights that the config has no '
                f'place for, the first being {next(iter(self._left))}; give the '
                'config of its network with --config or --cfg-options'
            )


Convert = Callable[[ReleasedWeights, WSSSClassifier], dict[str, Tensor]]
"""Released weights and a model on the meta device to the model's state dict."""


def parse_arguments(description: str, config: str) -> Namespace:
    """Read the command line of a converter.

    Args:
        description: Its help.
        config: The default config, from the folder of configs.
    """
    parser = ArgumentParser(
        description=description, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('weights', type=Path, help='file that the release wrote')
    parser.add_argument('--out', type=Path, required=True, help='checkpoint to write')
    parser.add_argument(
        '--config',
        type=Path,
        default=CONFIGS / config,
        help=f'config of the network (default: configs/{config})',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionAction, help="settings, as the tools'"
    )
    return parser.parse_args()


def convert_file(arguments: Namespace, convert: Convert) -> None:
    """Convert a file and write a checkpoint that tests and starts trainings.

    Raises:
        CheckpointError: if the weights are unreadable or of another network.
        ConfigError: if the config is absent or of another method.
    """
    config = config_with(arguments.config, arguments.cfg_options or {})
    with DefaultScope.overwrite_default_scope('mmwsss'), torch.device('meta'):
        model = MODELS.build(config.model)
    source = ReleasedWeights(arguments.weights)
    state = convert(source, model)
    source.finish()
    check_shapes(state, model, arguments.weights)
    model.load_state_dict(state, strict=True, assign=True)
    meta = dict(cfg=config.pretty_text, dataset_meta=dataset_meta(config, model))
    with atomic_writer(arguments.out) as file:
        torch.save(dict(meta=meta, state_dict=state), file)
    print(f'{arguments.out}: {len(state)} tensors of {type(model).__name__}')


def check_shapes(
    state: dict[str, Tensor], model: WSSSClassifier, path: str | Path
) -> None:
    """Check a converted state dict against its model.

    Raises:
        CheckpointError: if a weight is absent or of another shape.
    """
    for name, own in model.state_dict().items():
        found = tuple(state[name].shape) if name in state else 'absent'
        if found != tuple(own.shape):
            raise CheckpointError(
                f'{path}: {name} becomes {found}, the config has {tuple(own.shape)}; '
                'give the config of its network with --config or --cfg-options '
                '(model.num_classes for other classes)'
            )


def dataset_meta(config: Config, model: WSSSClassifier) -> dict:
    """Return names and colours of the classes, those of the config's data set.

    Raises:
        ConfigError: if there are others than the model has.
    """
    kind = config.train_dataloader.dataset.type
    with DefaultScope.overwrite_default_scope('mmwsss'):
        known = getattr(DATASETS.get(kind), 'METAINFO', {})
    meta = {name: known[name] for name in KEPT_META if name in known}
    if len(meta.get('classes', ())) != model.num_classes + 1:
        raise ConfigError(
            f'{kind} has {len(meta.get("classes", ()))} classes with the background, '
            f'the model {model.num_classes} without; give the config of the data set '
            'that the weights were trained on'
        )
    return meta
