"""Number formats and lengths of feature rows."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor

EPSILON = 1e-12
"""Rows no longer than this have no direction."""


def widen(tensor: Tensor) -> Tensor:
    """Bring half precision to float32; wider floats stay as they are.

    Args:
        tensor: Floats of any shape.

    Returns:
        The same shape in float32 or float64.

    Example:
        >>> widen(torch.zeros(2, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def full_precision(tensor: Tensor) -> AbstractContextManager:
    """Return a context in which autocast does not narrow products again.

    Args:
        tensor: Any shape; only its device counts.

    Example:
        >>> rows = torch.ones(1, 1)
        >>> with torch.autocast('cpu', torch.bfloat16), full_precision(rows):
        ...     (rows @ rows).dtype
        torch.float32
    """
    return torch.autocast(tensor.device.type, enabled=False)


def unit(rows: Tensor) -> Tensor:
    """Give rows length 1; rows without a direction become 0, without a gradient.

    Args:
        rows: (..., D) floats.

    Returns:
        (..., D) in float32 or float64, of length 1 or 0.

    Example:
        >>> unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    rows = widen(rows)
    norms = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    # a clamp alone would send gradients of 1 / EPSILON into rows of zeros
    return torch.where(norms > EPSILON, rows / norms.clamp_min(EPSILON), 0)
