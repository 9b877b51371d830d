"""The clock that stops a training which has diverged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwsss.registry import HOOKS
from mmwsss.utils.distributed import on_any_process
from mmwsss.utils.errors import TrainingError
from mmwsss.utils.finiteness import first_not_finite

NAME = 'nonfinite_iter_{}.pth'
"""No name of a checkpoint that ``--resume`` looks for."""
REMEDY = (
    'look at these images, then go on from the last checkpoint with --resume and '
    'optim_wrapper.clip_grad.max_norm set, or train anew with a smaller learning rate'
)


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop when the loss, or a weight that is to be saved, is not finite.

    All processes stop together. The state behind the iteration is written as
    ``nonfinite_iter_<n>.pth`` in the work directory, with losses and images in its
    ``meta``; ``--resume`` passes it over. A resumed run repeats its draws, so it comes
    to the same batch. The loss is read behind mmengine's log, which waits for it in
    each iteration: there is nothing more to wait for.
    """

    # behind RuntimeInfoHook, before all that keeps or writes what came of the loss
    priority = 'HIGH'

    def __init__(self) -> None:
        self._images: list[str] = []
        self._stopping = False

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Look at the loss.

        Raises:
            TrainingError: if it is not finite on one of the processes.
        """
        self._images = _images_of(data_batch)
        finite = math.isfinite((outputs or {}).get('loss', 0.0))
        if not on_any_process(not finite):
            return
        losses = {name: float(value) for name, value in (outputs or {}).items()}
        shares = all_gather_object(None if finite else (losses, self._images))
        shares = [share for share in shares if share]
        self._images = [image for _, images in shares for image in images]
        self._stop(runner, 'the loss is not finite', shares[0][0])

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Look at the weights.

        Raises:
            TrainingError: if one is not finite.
        """
        if not self._stopping:
            name = first_not_finite(checkpoint['state_dict'])
            if name:
                self._stop(runner, f'{name} of the model is not finite', {})

    def _stop(self, runner: Runner, what: str, losses: Mapping[str, float]) -> None:
        self._stopping = True
        name, iteration = NAME.format(runner.iter + 1), runner.iter + 1
        meta = dict(losses=dict(losses), images=self._images)
        state = f'its state is in {runner.work_dir}/{name}, which --resume passes over'
        try:
            runner.save_checkpoint(
                runner.work_dir, name, meta=dict(nonfinite=meta), by_epoch=False
            )
        except OSError as error:
            state = f'its state could not be written ({error.strerror})'
        values = ', '.join(f'{key} {value:g}' for key, value in losses.items())
        raise TrainingError(
            f'{what} behind iteration {iteration}{f" ({values})" if values else ""}, '
            f'batch of {", ".join(self._images) or "unnamed images"}; {state}: {REMEDY}'
        )


def _images_of(data_batch: dict | None) -> list[str]:
    """Return the paths of a batch's images, as far as its samples name them."""
    samples: Sequence = (data_batch or {}).get('data_samples') or ()
    return [s.get('img_path', '') for s in samples if s.get('img_path', '')]
