"""An epoch loop that resumes in the middle of an epoch."""

from __future__ import annotations

from mmengine.dist import broadcast, get_world_size
from mmengine.runner import EpochBasedTrainLoop

from mmwsss.registry import LOOPS
from mmwsss.utils.errors import ConfigError


@LOOPS.register_module()
class ResumableEpochLoop(EpochBasedTrainLoop):
    """mmengine's ``EpochBasedTrainLoop`` that goes on where a checkpoint was written.

    mmengine begins an interrupted epoch anew. This loop lets the sampler skip the
    samples that the epoch has seen; ``CountedRandomnessHook`` carries their number
    through the checkpoint. Constructor as there; the sampler is a ``CountedSampler``.
    Behind an epoch all processes have the first one's buffers, as its checkpoint has:
    running statistics are of each process's own images until then.
    """

    _resumed_samples = 0
    _epoch_first_iter = 0

    @property
    def batch_samples(self) -> int:
        """Samples that all processes together see in one iteration."""
        return self.dataloader.batch_size * get_world_size()

    def samples_done(self, iteration: int) -> int:
        """Samples of the running epoch seen by all processes before an iteration."""
        return (iteration - self._epoch_first_iter) * self.batch_samples

    def resume_within_epoch(self, samples: int) -> None:
        """Begin the next epoch behind its first samples, counted over all processes.

        Raises:
            ConfigError: if the samples are no whole number of iterations.
        """
        if samples >= len(self.dataloader.dataset):
            samples = len(self.dataloader) * self.batch_samples
        if samples % self.batch_samples:
            raise ConfigError(
                f'cannot resume after {samples} samples of an epoch with '
                f'{self.batch_samples} samples an iteration; use a number of processes '
                'and a batch size whose product divides it, or a checkpoint written '
                'at the end of an epoch'
            )
        self._resumed_samples = samples

    def run_epoch(self) -> None:
        """Iterate what is left of the epoch."""
        iterations = self._resumed_samples // self.batch_samples
        self._resumed_samples = 0
        self._epoch_first_iter = self._iter - iterations
        self._counted_sampler().skip(iterations * self.dataloader.batch_size)
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for index, data_batch in enumerate(self.dataloader, start=iterations):
            self.run_iter(index, data_batch)
        for buffer in self.runner.model.buffers():
            broadcast(buffer.data)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        # Checkpoints written after validation belong to the next epoch.
        self._epoch_first_iter = self._iter

    def _counted_sampler(self):  # noqa: ANN202 (its module imports data sets)
        sampler = self.dataloader.sampler
        if not hasattr(sampler, 'skip'):
            raise ConfigError(
                f'ResumableEpochLoop cannot fast-forward a {type(sampler).__name__}; '
                "set train_dataloader.sampler.type='CountedSampler'"
            )
        return sampler
