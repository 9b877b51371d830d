"""Gradients added up over iterations, when a checkpoint falls between two of them."""

from __future__ import annotations

from itertools import chain

from mmengine.dist import get_world_size
from mmengine.optim import OptimWrapper
from torch import Tensor

from mmwsss.utils.errors import ConfigError

KEY = 'pending_gradients'

Gradients = list[Tensor | None]
"""One a parameter, in the optimizer's order."""


def save_pending(wrapper: OptimWrapper, checkpoint: dict) -> None:
    """Put the gradients that no step has used yet into a checkpoint.

    Processes add up gradients of their own and exchange them at the step, so that of
    several processes None is put there.
    """
    if isinstance(wrapper, OptimWrapper) and not wrapper.should_update():
        alone = get_world_size() == 1
        checkpoint[KEY] = _gradients(wrapper) if alone else None


def restore_pending(wrapper: OptimWrapper, checkpoint: dict) -> None:
    """Go on adding up where a checkpoint was written.

    Raises:
        ConfigError: if the checkpoint could not hold the gradients.
    """
    if KEY not in checkpoint:
        return
    if checkpoint[KEY] is None:
        raise ConfigError(
            f'the checkpoint behind iteration {checkpoint["meta"]["iter"]} was written '
            'between two whose gradients are added up for one step (optim_wrapper.'
            'accumulative_counts), of which each process had its own: resume from a '
            'checkpoint at a multiple of accumulative_counts'
        )
    for parameter, gradient in zip(_parameters(wrapper), checkpoint[KEY]):
        parameter.grad = None if gradient is None else gradient.to(parameter)


def _parameters(wrapper: OptimWrapper) -> list[Tensor]:
    return list(chain(*(group['params'] for group in wrapper.param_groups)))


def _gradients(wrapper: OptimWrapper) -> Gradients:
    gradients = [parameter.grad for parameter in _parameters(wrapper)]
    return [None if g is None else g.detach().cpu() for g in gradients]
