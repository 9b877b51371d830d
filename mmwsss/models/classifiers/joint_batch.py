"""A process's share of the batch that all processes train on."""

from __future__ import annotations

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor

from mmwsss.structures import WSSSDataSample


def own_share(
    inputs: Tensor, data_samples: list[WSSSDataSample]
) -> tuple[Tensor, list[WSSSDataSample], Tensor | None]:
    """Leave out images that a sampler repeats to give all processes as many.

    What is a mean over the images left, times the weight, is the mean over the
    different images of all processes once it is averaged over processes, as
    distributed training averages gradients. Every process must call it. One that has
    nothing else keeps what it has, with weight 0, so that it takes part.

    Args:
        inputs: (B, 3, H, W).
        data_samples: B samples; metainfo ``padding`` tells of repeats.

    Returns:
        The images and samples that count, and the weight, float64 in
        [0, processes]; None in a single process, which repeats no image.
    """
    world_size = get_world_size()
    if world_size == 1:
        return inputs, data_samples, None
    own = [i for i, s in enumerate(data_samples) if not s.get('padding', False)]
    total = torch.tensor(len(own), dtype=torch.float64, device=inputs.device)
    all_reduce(total)
    if 0 < len(own) < len(data_samples):
        inputs, data_samples = inputs[own], [data_samples[i] for i in own]
    return inputs, data_samples, world_size * len(own) / total
