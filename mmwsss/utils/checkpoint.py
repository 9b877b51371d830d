"""Reading of checkpoints without executing what they contain.

With this module imported, mmengine itself reads local files in this way.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from mmengine.runner import CheckpointLoader
from numpy.typing import NDArray

from mmwsss.utils.checkpoint_claims import ClaimError, check_file, check_tensors
from mmwsss.utils.errors import CheckpointError


def statistic_of_buffer(owner: type, name: str) -> object:
    """Stand in for ``getattr``, which mmengine's log buffers are pickled with.

    Raises:
        UnpicklingError: for anything but a statistic of ``HistoryBuffer``.
    """
    if owner is not HistoryBuffer or name not in STATISTICS:
        raise pickle.UnpicklingError(f'getattr({owner!r}, {name!r})')
    return getattr(HistoryBuffer, name)


class ArrayType:
    """Stand in for ``numpy.ndarray``, which a file might call with any shape."""


def empty_array(owner: type, shape: tuple[int, ...], kind: object) -> NDArray[Any]:
    """Stand in for ``_reconstruct``, which NumPy's pickles of arrays begin with.

    Raises:
        UnpicklingError: for another array than the empty one that they ask for.
    """
    if owner is not ArrayType or tuple(shape) != (0,):
        raise pickle.UnpicklingError(f'an array of shape {shape}')
    return np.empty(0, np.int8)


STATISTICS = ('min', 'max', 'current', 'mean')
UNNAMED = '\n'
"""No file can name what is listed so; torch sets the state of listed types alone."""
TRUSTED = [
    HistoryBuffer,
    (statistic_of_buffer, 'builtins.getattr'),
    (ArrayType, 'numpy.ndarray'),
    (np.ndarray, UNNAMED),
    np.dtype,
    *(
        (function, f'{package}.multiarray.{name}')  # numpy 2 has renamed the package
        for package in ('numpy.core', 'numpy._core')
        for function, name in (
            (empty_array, '_reconstruct'),
            (np.float64(0).__reduce__()[0], 'scalar'),
        )
    ),
    *(type(np.dtype(kind)) for kind in ('float64', 'float32', 'int64', 'int32')),
]
"""What mmengine writes into a checkpoint besides tensors and plain containers."""


LAST_CHECKPOINT = 'last_checkpoint'
"""File of a work directory that names mmengine's last checkpoint."""
PROGRAM = 'config'
"""Entry of ``meta`` that no training writes, and that is run by who finds it."""
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
            path = path / Path((path / LAST_CHECKPOINT).read_text('utf-8')).name
        except (OSError, UnicodeDecodeError) as error:
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
    found = [path for name in RESUMABLE for path in folder.glob(name) if path.is_file()]
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
        CheckpointError: if the file is absent, torn, not a checkpoint, holds objects
            outside the allow-list, or claims more than its bytes can hold.
    """
    path = find_checkpoint(path)
    try:
        check_file(path)
        with torch.serialization.safe_globals(TRUSTED):
            checkpoint = torch.load(path, map_location='cpu', weights_only=True)
        if isinstance(checkpoint, dict):
            check_tensors(checkpoint, path.stat().st_size)
    except pickle.UnpicklingError as error:
        reason = str(error).split('\n')[0]
        raise CheckpointError(
            f"{path} holds objects other than tensors and mmengine's own, so it is "
            f'not loaded ({reason}); re-save it as a plain state dict'
        ) from error
    except ClaimError as error:
        raise CheckpointError(
            f'{path} claims more than it can hold, {error}, so it is not loaded; get '
            'it from its source again or use another'
        ) from error
    # bytes at will make torch raise at will
    except Exception as error:
        raise CheckpointError(
            f'{path} cannot be read as a checkpoint ({error}); it may be cut short: '
            'copy it again or use an earlier one'
        ) from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(
            f'{path} holds a {type(checkpoint).__name__}, not a checkpoint'
        )
    _check_weights(path, checkpoint)
    return _without_program(path, checkpoint)


def _without_program(path: Path, checkpoint: dict) -> dict:
    """Leave out the text of a config, which mmengine would run when it resumes."""
    meta = checkpoint.get('meta', {})
    if not isinstance(meta, dict) or PROGRAM not in meta:
        return checkpoint
    print_log(f'{path}: meta.{PROGRAM} is left out', 'current', logging.WARNING)
    kept = {name: value for name, value in meta.items() if name != PROGRAM}
    return {**checkpoint, 'meta': kept}


def _check_weights(path: Path, checkpoint: dict) -> None:
    if 'state_dict' not in checkpoint:
        return
    weights = checkpoint['state_dict']
    if not isinstance(weights, Mapping) or not all(
        isinstance(name, str) and isinstance(weight, torch.Tensor)
        for name, weight in weights.items()
    ):
        raise CheckpointError(
            f'{path} has a state_dict that is no tensors by name; use a checkpoint '
            'that a training wrote'
        )


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: Any = None) -> dict:
    """Read a local file for mmengine, whose own loader falls back to unpickling.

    Args:
        filename: As of ``read_checkpoint``; ``~`` is the home directory.
        map_location: Accepted as mmengine passes it; tensors are on the CPU, from
            where they are copied into the model.
        logger: Accepted as older versions pass it.

    Raises:
        CheckpointError: as ``read_checkpoint``.
    """
    return read_checkpoint(Path(filename).expanduser())
