"""Reading of checkpoints without executing what they contain."""

from __future__ import annotations

import logging
import pickle
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log

from mmwsss.utils.errors import CheckpointError


def statistic_of_buffer(owner: type, name: str) -> object:
    """Stand in for ``getattr``, which mmengine's log buffers are pickled with.

    Raises:
        UnpicklingError: for anything but a statistic of ``HistoryBuffer``.
    """
    if owner is not HistoryBuffer or name not in STATISTICS:
        raise pickle.UnpicklingError(f'getattr({owner!r}, {name!r})')
    return getattr(HistoryBuffer, name)


STATISTICS = ('min', 'max', 'current', 'mean')
TRUSTED = [
    HistoryBuffer,
    (statistic_of_buffer, 'builtins.getattr'),
    np.ndarray,
    np.dtype,
    *(
        (function, f'{package}.multiarray.{name}')  # numpy 2 has renamed the package
        for package in ('numpy.core', 'numpy._core')
        for function, name in (
            (np.empty(0).__reduce__()[0], '_reconstruct'),
            (np.float64(0).__reduce__()[0], 'scalar'),
        )
    ),
    *(type(np.dtype(kind)) for kind in ('float64', 'float32', 'int64', 'int32')),
]
"""What mmengine writes into a checkpoint besides tensors and plain containers."""


LAST_CHECKPOINT = 'last_checkpoint'
"""File of a work directory that names mmengine's last checkpoint."""
RESUMABLE = ('epoch_*.pth', 'iter_*.pth')
"""Checkpoints that mmengine writes on the way."""


def find_checkpoint(path: str | Path) -> Path:
    """Return a checkpoint's file; a work directory stands for its last one.

    Raises:
        CheckpointError: if there is none.
    """
    path = Path(path)
    if path.is_dir():
        try:
            # the file names the place of the run, from where the folder may have moved
            path = path / Path((path / LAST_CHECKPOINT).read_text()).name
        except OSError as error:
            raise CheckpointError(
                f'{path} holds no last checkpoint; train there first, or name a file'
            ) from error
    if not path.is_file():
        raise CheckpointError(f'no checkpoint at {path}; check the path')
    return path


def find_resumable(folder: str | Path) -> Path | None:
    """Return the checkpoint from which a training in a work directory goes on.

    mmengine writes checkpoints and ``last_checkpoint`` in place, so that a run killed
    meanwhile leaves one cut short: then the newest readable one stands in.

    Args:
        folder: Work directory of the training.

    Returns:
        A readable checkpoint, or None if there is none.
    """
    folder = Path(folder)
    found = [path for name in RESUMABLE for path in folder.glob(name)]
    found.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    with suppress(CheckpointError):
        found.insert(0, find_checkpoint(folder))
    for path in found:
        try:
            read_checkpoint(path)
        except CheckpointError as error:
            print_log(f'passed over: {error}', 'current', logging.WARNING)
        else:
            return path
    return None


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
    path = find_checkpoint(path)
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
