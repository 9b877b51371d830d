"""The clock of the prototypes."""

from __future__ import annotations

from collections.abc import Callable

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from mmwsss.engine.model_methods import model_method, unwrap
from mmwsss.registry import HOOKS
from mmwsss.utils.errors import ConfigError


@HOOKS.register_module()
class PrototypeRefreshHook(Hook):
    """Let the model cluster its memory, behind its last write, before a checkpoint.

    mmengine's ``EMAHook`` copies buffers to its averaged model an iteration later than
    this hook changes them; a checkpoint has the new prototypes in both.

    Args:
        interval: Epochs or iterations from one refresh to the next.
        by_epoch: Whether the interval counts epochs.

    Raises:
        ConfigError: if the interval is less than 1.
    """

    priority = 'BELOW_NORMAL'

    def __init__(self, *, interval: int = 1, by_epoch: bool = True) -> None:
        if interval < 1:
            raise ConfigError(f'interval must be at least 1, got {interval}')
        self.interval, self.by_epoch = interval, by_epoch

    def before_train(self, runner: Runner) -> None:
        """Check the model and the loop.

        Raises:
            ConfigError: if the model has no ``refresh_prototypes``, or the loop knows
                no epochs to count.
        """
        if self.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ConfigError(
                'PrototypeRefreshHook counts epochs, of which an iteration-based loop '
                'has none; set by_epoch=False and the interval in iterations'
            )
        self._method(runner)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Refresh if an interval of iterations is over."""
        if not self.by_epoch and self.every_n_train_iters(runner, self.interval):
            self._method(runner)()

    def after_train_epoch(self, runner: Runner) -> None:
        """Refresh if an interval of epochs is over."""
        if self.by_epoch and self.every_n_epochs(runner, self.interval):
            self._method(runner)()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Save averaged weights with the buffers that validation sees."""
        if 'ema_state_dict' in checkpoint:
            # EMAHook, before this one, has put the model's own there
            own, averaged = checkpoint['ema_state_dict'], checkpoint['state_dict']
            buffers = dict(unwrap(runner.model).named_buffers())
            for name in averaged.keys() & buffers.keys():
                averaged[name] = own[f'module.{name}']

    def _method(self, runner: Runner) -> Callable[[], object]:
        return model_method(
            runner, 'refresh_prototypes', hook=self, model_type='RCAClassifier'
        )
