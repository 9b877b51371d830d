"""The clock of counted randomness."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwsss.engine.pending_gradients import restore_pending, save_pending
from mmwsss.registry import HOOKS
from mmwsss.utils.errors import ConfigError
from mmwsss.utils.randomness import Use, seed_global_generators


@HOOKS.register_module()
class CountedRandomnessHook(Hook):
    """Seed each iteration by its number, and carry the place in the epoch.

    Draws by third-party layers (dropout, stochastic depth) come from the global
    generators; keyed by (seed, iteration, process) they survive a resume.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Give the sampler the run's seed; a resumed run has its checkpoint's.

        Raises:
            ConfigError: if the processes have seeds of their own.
        """
        if runner.cfg.get('randomness', {}).get('diff_rank_seed'):
            raise ConfigError(
                'randomness.diff_rank_seed would give each process another order of '
                'samples; take it off: draws differ between processes without it'
            )
        sampler = runner.train_dataloader.sampler
        if hasattr(sampler, 'seed'):
            sampler.seed = runner.seed

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Seed the global generators."""
        seed_global_generators(Use.STEP, runner.seed, runner.iter, runner.rank)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Write down how many samples of the epoch are done, and unused gradients."""
        save_pending(runner.optim_wrapper, checkpoint)
        loop, meta = runner.train_loop, checkpoint['meta']
        if hasattr(loop, 'samples_done'):
            is_running = meta['epoch'] == loop.epoch
            meta['samples_done'] = loop.samples_done(meta['iter']) if is_running else 0

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Hand both back to the parts of a resumed run.

        Raises:
            ConfigError: if the place or the gradients cannot be had again.
        """
        if not getattr(runner, '_resume', False):
            return
        restore_pending(runner.optim_wrapper, checkpoint)
        if hasattr(runner.train_loop, 'resume_within_epoch'):
            samples = checkpoint['meta'].get('samples_done', 0)
            runner.train_loop.resume_within_epoch(samples)
