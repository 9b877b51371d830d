"""Counted randomness for transforms that draw from global generators."""

from __future__ import annotations

from mmcv.transforms import BaseTransform

from mmwsss.registry import TRANSFORMS
from mmwsss.utils.errors import ConfigError
from mmwsss.utils.randomness import CountedIndex, Use, seed_global_generators


@TRANSFORMS.register_module()
class CountedRandomness(BaseTransform):
    """Seed the global CPU generators by (seed, epoch, index); first of a pipeline.

    The draws of all later transforms then depend on neither the workers, the
    processes nor the place a training was resumed at. CUDA's generators are left
    alone: workers must not touch them, and with no workers the model uses them.

    Raises:
        ConfigError: if the sampler gives plain indices.
    """

    def transform(self, results: dict) -> dict:
        """Return ``results`` unchanged."""
        index = results['sample_idx']
        if not isinstance(index, CountedIndex):
            raise ConfigError(
                'CountedRandomness got a plain index; set '
                "train_dataloader.sampler=dict(type='CountedSampler')"
            )
        key = Use.SAMPLE, index.seed, index.epoch, int(index)
        seed_global_generators(*key, devices=False)
        return results
