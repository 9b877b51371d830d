"""Optimizer wrappers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import nn

from mmwsss.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """mmengine's ``OptimWrapper`` with the forward pass under bfloat16 autocast.

    mmengine's ``AmpOptimWrapper`` wants a GPU and scales the loss; bfloat16 has
    float32's range, so it needs no scaler and runs on CPU too. Constructor as there.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the enclosed forward pass under autocast."""
        device = torch.device(get_device()).type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield
