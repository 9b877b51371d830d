"""SHA-256 digests of what an artefact is made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmwsss.utils.errors import ArtefactError, ConfigError

CHUNK = 1 << 20


def digest_json(value: Any) -> str:
    """Return the digest of nested dicts, lists, tuples, numbers, strings and classes.

    The order of keys does not matter, a tuple counts as a list, and a class or
    function counts by its name.

    Raises:
        ConfigError: if something else is inside.

    Example:
        >>> digest_json({'a': 1, 'b': (2,)}) == digest_json({'b': [2], 'a': 1})
        True
    """
    try:
        text = json.dumps(value, sort_keys=True, default=_name)
    except TypeError as error:
        raise ConfigError(f'cannot make a digest: {error}; use plain values') from error
    return hashlib.sha256(text.encode()).hexdigest()


def _name(value: Any) -> str:
    try:
        return f'{value.__module__}.{value.__qualname__}'
    except AttributeError:
        raise TypeError(f'{value!r} is no plain value') from None


def digest_file(path: str | Path) -> str:
    """Return the digest of a file's bytes.

    Raises:
        ArtefactError: if the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, 'rb') as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise ArtefactError(
            f'cannot read {path}: {error.strerror}; check that it exists and its '
            'permissions'
        ) from error
    return digest.hexdigest()


def digest_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return the digest of named tensors: names, dtypes, shapes and values.

    A checkpoint's file carries times as well; a training that was stopped and
    resumed gives other bytes there and the same digest here.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}\n'.encode())
        # bytes of any dtype, bfloat16 included, which NumPy does not know
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
