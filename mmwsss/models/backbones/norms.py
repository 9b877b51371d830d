"""Batch normalization that keeps what it has learned elsewhere."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def keep_statistics(module: nn.Module) -> None:
    """Let batch normalization use its running statistics and not update them."""
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.eval()


def freeze_norms(module: nn.Module) -> None:
    """Keep running statistics, scales and shifts of batch normalization."""
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.eval().requires_grad_(False)
