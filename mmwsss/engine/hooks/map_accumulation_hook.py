"""The clock of online attention accumulation."""

from __future__ import annotations

from pathlib import Path

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from mmwsss.engine.model_methods import unwrap
from mmwsss.registry import ACCUMULATORS, HOOKS
from mmwsss.utils.errors import ConfigError

STATE = 'accumulated'


@HOOKS.register_module()
class MapAccumulationHook(Hook):
    """Accumulate the maps of the images of ``seed_dataloader`` behind an epoch.

    Behind all that changes weights or buffers and before the checkpoint, which names
    the maps that belong to it. The last epoch is always accumulated.

    Args:
        begin: Index of the first epoch accumulated, from 0.
        interval: Epochs from one accumulation to the next.
        out_dir: Folder of the maps; ``accumulated`` in the work directory if None.
        gate: Least probability in [0, 1] of a class whose map is taken.
        keep: Checkpoints whose maps are kept, at least as many as
            ``CheckpointHook.max_keep_ckpts``, so that each can be resumed from.

    Raises:
        ConfigError: if a value is out of range.
    """

    priority = 'LOW'

    def __init__(
        self,
        *,
        begin: int = 1,
        interval: int = 1,
        out_dir: str | None = None,
        gate: float = 0.1,
        keep: int = 2,
    ) -> None:
        if begin < 0 or interval < 1 or keep < 1 or not 0 <= gate <= 1:
            raise ConfigError(
                'MapAccumulationHook: expected begin >= 0, interval >= 1, keep >= 1, '
                f'0 <= gate <= 1, got {begin}, {interval}, {keep}, {gate}'
            )
        self.begin, self.interval, self.out_dir = begin, interval, out_dir
        self.settings = dict(type='MapAccumulator', gate=gate, keep=keep)
        self._resumed: list[str] = []

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note the maps that the checkpoint of a resumed run belongs to."""
        if getattr(runner, '_resume', False):
            self._resumed = checkpoint['meta'].get(STATE, [])

    def before_train(self, runner: Runner) -> None:
        """Go on with the maps of the checkpoint, or begin.

        Raises:
            ConfigError: if the loop knows no epochs.
            WSSSError: if images or tags are missing, or the maps of the checkpoint.
        """
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ConfigError(
                'MapAccumulationHook counts epochs, of which an iteration-based loop '
                "has none; set train_cfg.type='ResumableEpochLoop'"
            )
        schedule = dict(
            begin=self.begin, interval=self.interval, epochs=runner.max_epochs
        )
        folder = self.out_dir or Path(runner.work_dir) / STATE
        self._accumulator = ACCUMULATORS.build(
            dict(self.settings, config=runner.cfg, folder=folder, schedule=schedule)
        )
        self._accumulator.restore(self._resumed)

    def after_train_epoch(self, runner: Runner) -> None:
        """Accumulate if it is time."""
        last = runner.epoch + 1 == runner.max_epochs
        waited = runner.epoch - self.begin
        if last or (waited >= 0 and waited % self.interval == 0):
            model = unwrap(runner.model)
            self._accumulator.accumulate(model, epoch=runner.epoch + 1, last=last)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Name the maps that belong to the checkpoint."""
        checkpoint['meta'][STATE] = self._accumulator.state()
