"""The clock of the region memory."""

from __future__ import annotations

from mmengine.hooks import EMAHook, Hook, SyncBuffersHook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn

from mmwsss.engine.model_methods import model_method, unwrap
from mmwsss.registry import HOOKS
from mmwsss.utils.errors import ConfigError

MODEL = 'RCAClassifier'


@HOOKS.register_module()
class RegionMemoryHook(Hook):
    """Let the model write what its last iteration staged, on every process.

    Before other hooks of an iteration refresh prototypes or save checkpoints.
    """

    priority = 'ABOVE_NORMAL'

    def before_train(self, runner: Runner) -> None:
        """Check the model and the other hooks.

        Raises:
            ConfigError: if the model has no ``update_memory``, another hook averages
                buffers, or the loop knows no epoch in which the contrast begins.
        """
        if any(isinstance(hook, SyncBuffersHook) for hook in runner.hooks):
            raise ConfigError(
                'SyncBuffersHook averages the memory, its pointers too, which all '
                'processes keep equal without it; take it off custom_hooks'
            )
        averaging = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
        if any(hook.ema_cfg.get('update_buffers') for hook in averaging):
            raise ConfigError(
                'EMAHook with update_buffers averages the memory and never updates its '
                'counts; take update_buffers off, buffers are copied without it'
            )
        model_method(runner, 'update_memory', hook=self, model_type=MODEL)
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            _check_begins(unwrap(runner.model))

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Write."""
        model_method(runner, 'update_memory', hook=self, model_type=MODEL)()


def _check_begins(model: nn.Module) -> None:
    """Check that no contrast waits for an epoch, in a loop that counts none."""
    for part in model.modules():
        first = getattr(part, 'contrast_from', 0)
        if getattr(part, 'contrast', None) is not None and int(first) > 0:
            raise ConfigError(
                f'contrast_from={first} counts epochs, of which an iteration-based '
                'loop has none; set contrast_from=0 there'
            )
