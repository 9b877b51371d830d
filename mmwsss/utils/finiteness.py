"""Values that are no numbers any more."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the first name whose tensor holds NaN or infinity, None if there is none.

    Example:
        >>> import torch
        >>> weights = {'a': torch.ones(2), 'b': torch.tensor([0.0, torch.inf])}
        >>> first_not_finite(weights)
        'b'
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            return name
    return None
