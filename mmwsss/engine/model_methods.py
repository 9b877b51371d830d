"""The one way from a hook to its model."""

from __future__ import annotations

from collections.abc import Callable

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from mmwsss.utils.errors import ConfigError


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model inside distributed wrappers."""
    return unwrap(model.get_submodule('module')) if is_model_wrapper(model) else model


def model_method(
    runner: Runner, name: str, *, hook: Hook, model_type: str
) -> Callable[[], object]:
    """Return a method of the runner's own model.

    Args:
        runner: The runner.
        name: Of the method.
        hook: Who calls it, for the message.
        model_type: A model that has it, for the message.

    Raises:
        ConfigError: if the model has no such method.
    """
    model = unwrap(runner.model)
    method = getattr(model, name, None)
    if not callable(method):
        kind = type(hook).__name__
        raise ConfigError(
            f'{kind} calls {name}(), which {type(model).__name__} does not have; set '
            f"model.type='{model_type}', or take the {kind} off custom_hooks"
        )
    return method
