"""Looking at a model in training without a trace."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Put a model to evaluation, without gradients, and then all back as it was.

    Back to the bit come each part's mode, the gradients that are yet to be used, the
    buffers, and the global generators of Python, NumPy and torch.

    Args:
        model: The network itself, outside of wrappers.
    """
    modes = [(module, module.training) for module in model.modules()]
    gradients = [(weight, weight.grad) for weight in model.parameters()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    python, numpy = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    for weight, _ in gradients:
        weight.grad = None
    model.eval()
    try:
        with torch.random.fork_rng(devices), torch.no_grad():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        for module, training in modes:
            module.training = training
        for weight, gradient in gradients:
            weight.grad = gradient
        with torch.no_grad():
            for module, name, buffer, kept in buffers:
                setattr(module, name, buffer.copy_(kept))
