"""The clock of the pictures that show how a training goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from mmwsss.engine.fixed_images import FixedImages
from mmwsss.engine.model_methods import model_method, unwrap
from mmwsss.engine.undisturbed import undisturbed
from mmwsss.registry import DATASETS, HOOKS
from mmwsss.utils.errors import ConfigError

LOADERS = ('val_dataloader', 'seed_dataloader', 'test_dataloader')


@HOOKS.register_module()
class TrainingPicturesHook(Hook):
    """Let the visualizer draw what the model makes of the same images each time.

    Behind the checkpoint, on the first process, and behind the last epoch in any case.
    Nothing of the training is changed: weights, buffers, pending gradients and draws
    are those of a run without pictures, to the bit.

    Args:
        interval: Epochs from one set of pictures to the next.
        images: How many of the first images of the loader's data set, or their ids.
        loader: One of ``LOADERS``; None is the first that the config has.
        initial: Whether to draw before the first iteration, too.

    Raises:
        ConfigError: if a value is out of range.
    """

    # behind CheckpointHook: a picture that fails costs no checkpoint
    priority = 'LOWEST'

    def __init__(
        self,
        *,
        interval: int = 1,
        images: int | Sequence[str] = 4,
        loader: str | None = None,
        initial: bool = False,
    ) -> None:
        if interval < 1 or not images or (isinstance(images, int) and images < 1):
            raise ConfigError(
                'TrainingPicturesHook: expected interval >= 1 and images >= 1 or a '
                f'list of ids, got {interval} and {images!r}'
            )
        if loader not in (None, *LOADERS):
            raise ConfigError(f'loader: expected one of {LOADERS}, got {loader!r}')
        self.interval, self.initial = interval, initial
        self.loader = loader
        # one id, as an option of a command line gives it
        self.images = [images] if isinstance(images, str) else images

    def before_train(self, runner: Runner) -> None:
        """Check model, visualizer and loop, and choose the images.

        Raises:
            ConfigError: if one of them does not do, or an image is not there.
        """
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ConfigError(
                'TrainingPicturesHook counts epochs, of which an iteration-based loop '
                "has none; set train_cfg.type='ResumableEpochLoop'"
            )
        model_method(runner, 'observe', hook=self, model_type='ACRClassifier')
        if not hasattr(runner.visualizer, 'add_observations'):
            raise ConfigError(
                'TrainingPicturesHook needs a visualizer that draws what it is shown; '
                "set visualizer.type='WSSSVisualizer'"
            )
        self._images = FixedImages(self._dataset(runner), self.images)
        if self.initial and runner.iter == 0:
            self._draw(runner, epoch=0)

    def after_train_epoch(self, runner: Runner) -> None:
        """Draw if it is time."""
        last = runner.epoch + 1 == runner.max_epochs
        if last or self.every_n_epochs(runner, self.interval):
            self._draw(runner, epoch=runner.epoch + 1)

    def _dataset(self, runner: Runner) -> object:
        known = [name for name in LOADERS if runner.cfg.get(name)]
        name = self.loader or next(iter(known), None)
        if name not in known:
            raise ConfigError(
                f'TrainingPicturesHook: the config has no {name or "loader"}; set '
                f'loader to one of {known or LOADERS}'
            )
        if name == 'val_dataloader' and runner.val_loop is not None:
            return runner.val_loop.dataloader.dataset
        return DATASETS.build(runner.cfg[name]['dataset'])

    def _draw(self, runner: Runner, *, epoch: int) -> None:
        if not is_main_process():
            return
        model: Any = unwrap(runner.model)
        with undisturbed(model):
            seen = [model.observe(batch) for batch in self._images.batches()]
            runner.visualizer.add_observations(
                seen, model.memory_state(), step=runner.iter, epoch=epoch
            )
