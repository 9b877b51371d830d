"""The clock of the region memory."""

from __future__ import annotations

from mmengine.hooks import Hook, SyncBuffersHook
from mmengine.runner import Runner

from mmwsss.engine.model_methods import model_method
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
            ConfigError: if the model has no ``update_memory``, or another hook
                averages buffers.
        """
        if any(isinstance(hook, SyncBuffersHook) for hook in runner.hooks):
            raise ConfigError(
                'SyncBuffersHook averages the memory, its pointers too, which all '
                'processes keep equal without it; take it off custom_hooks'
            )
        model_method(runner, 'update_memory', hook=self, model_type=MODEL)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Write."""
        model_method(runner, 'update_memory', hook=self, model_type=MODEL)()
