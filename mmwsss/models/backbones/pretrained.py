"""Official weights, or a file of them: what all backbones share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import timm
import torch
from torch import Tensor, nn

from mmwsss.utils.checkpoint import read_checkpoint
from mmwsss.utils.errors import CheckpointError, ConfigError

REFUSALS = (
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AssertionError,
    NotImplementedError,
    RuntimeError,
)
"""What timm's models raise for arguments that they do not know or cannot meet."""

SAFE = '.safetensors'
"""Ending of files that can hold nothing but tensors."""
FROM_HUB = 'without a network, download them elsewhere and set pretrained to the file'
FROM_FILE = 'check that the file is whole and of this network'


@contextmanager
def fetching(name: str, pretrained: bool | str) -> Iterator[None]:
    """Turn whatever goes wrong while weights are fetched into one error.

    Args:
        name: Whose weights they are.
        pretrained: True if a hub is asked, else the path of the file.

    Raises:
        CheckpointError: in place of any other exception.
    """
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # every hub client raises its own kinds
        is_hub = pretrained is True
        source = 'the hub' if is_hub else pretrained
        remedy = FROM_HUB if is_hub else FROM_FILE
        raise CheckpointError(
            f'cannot load weights of {name} from {source} '
            f'({type(error).__name__}: {error}); {remedy}'
        ) from error


def create_timm(name: str, *, pretrained: bool | str, args: dict) -> nn.Module:
    """Build a timm model, with official weights or those of a file if asked for.

    Args:
        name: Model of timm.
        pretrained: True fetches official weights, a path reads a file in timm's
            format.
        args: Further arguments of ``timm.create_model``.

    Raises:
        ConfigError: if timm has no such model or it refuses the arguments.
        CheckpointError: if the weights cannot be fetched or read, or are those of
            another network.
    """
    if not timm.is_model(name):
        raise ConfigError(f'timm has no model {name!r}; see timm.list_models()')
    if not pretrained:
        try:
            return timm.create_model(name, pretrained=False, **args)
        except REFUSALS as error:
            reason = str(error) or f'{type(error).__name__} in timm'
            raise ConfigError(
                f'timm model {name!r} cannot be built with {_listed(args)}: {reason}; '
                'take off what it does not support'
            ) from error
    if isinstance(pretrained, str):
        # not all versions of timm that may be installed read with an allow-list
        if not pretrained.endswith(SAFE):
            with fetching(f'timm model {name!r}', pretrained):
                read_checkpoint(pretrained)
        args = args | dict(pretrained_cfg_overlay=dict(file=pretrained))
    with fetching(f'timm model {name!r}', pretrained):
        model = timm.create_model(name, pretrained=True, **args)
        if isinstance(pretrained, str) and args.get('features_only'):
            _check_complete(model, name, pretrained, args)
    return model


def _listed(args: dict) -> str:
    return ', '.join(f'{key}={value!r}' for key, value in sorted(args.items()))


def _check_complete(model: nn.Module, name: str, path: str, args: dict) -> None:
    """Refuse a file that leaves weights of a feature extractor as they were drawn.

    timm loads those without looking for missing names. Weights that the file does not
    give differ between two builds.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(torch.initial_seed() + 1)
        twin = timm.create_model(name, pretrained=True, **args).state_dict()
    state = model.state_dict()
    missing = [key for key in state if not torch.equal(state[key], twin[key])]
    if missing:
        raise CheckpointError(
            f'{path} lacks {len(missing)} of {len(state)} weights of timm model '
            f'{name!r}, the first being {missing[0]}; it belongs to another network'
        )


def freeze_unreached(module: nn.Module, outputs: list[Tensor]) -> None:
    """Freeze the parameters that the outputs do not depend on.

    timm keeps the layers behind a feature level in some CNNs; unused parameters that
    want a gradient stop distributed training.

    Args:
        module: Whose parameters are looked at.
        outputs: What the module gave, with graph; any shapes.
    """
    parameters = list(module.parameters())
    if not parameters:
        return
    with torch.enable_grad():
        total = torch.stack([output.sum() for output in outputs]).sum()
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients):
        parameter.requires_grad_(gradient is not None)
