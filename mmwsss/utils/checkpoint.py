"""Reading of checkpoints without executing what they contain."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from mmwsss.utils.errors import CheckpointError

TRUSTED = [
    HistoryBuffer,
    np.ndarray,
    np.dtype,
    np.ndarray.__reduce__(np.empty(0))[0],  # numpy moved it between versions
    *(type(np.dtype(kind)) for kind in ('float64', 'float32', 'int64', 'int32')),
]
"""What mmengine writes into a checkpoint besides tensors and plain containers."""


def read_checkpoint(path: str | Path) -> dict:
    """Read a checkpoint with an allow-list, never with the general unpickler.

    Args:
        path: A file written by mmengine or by ``torch.save`` of a state dict.

    Returns:
        The checkpoint; tensors are on the CPU.

    Raises:
        CheckpointError: if the file is absent, torn, not a checkpoint, or holds
            objects outside the allow-list.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f'no checkpoint at {path}; check the path')
    try:
        with torch.serialization.safe_globals(TRUSTED):
            checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).split('\n')[0]
        raise CheckpointError(
            f"{path} holds objects other than tensors and mmengine's own, so it is "
            f'not loaded ({reason}); re-save it as a plain state dict'
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        raise CheckpointError(
            f'{path} cannot be read as a checkpoint ({error}); it may be cut short: '
            'copy it again or use an earlier one'
        ) from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(
            f'{path} holds a {type(checkpoint).__name__}, not a checkpoint'
        )
    return checkpoint
