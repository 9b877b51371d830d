"""What a checkpoint claims to hold, held against the bytes that its file has."""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

PICKLE = 'data.pkl'
"""Ending of the name of the record that torch unpickles."""
PICKLES = 5
"""Of a file in torch's older format, one behind the other."""
FILLED = frozenset({'builtins bytearray', '__builtin__ bytearray'})
"""What torch lets a file call that fills as much memory as the file asks for."""


class ClaimError(ValueError):
    """A file claims more than its bytes can hold; the text says what."""


def check_file(path: Path) -> None:
    """Refuse a file whose reading would take more memory than it has bytes.

    What is no checkpoint at all is left to torch.

    Raises:
        ClaimError: if it would.
        OSError: if the file cannot be read.
        BadZipFile: if it is an archive that is damaged.
    """
    with open(path, 'rb') as file:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                _check_archive(archive, path.stat().st_size)
        else:
            file.seek(0)
            for _ in range(PICKLES):
                _check_calls(file)


def _check_archive(archive: zipfile.ZipFile, size: int) -> None:
    records = archive.infolist()
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise ClaimError('compressed records, which torch never writes')
    claimed = sum(record.file_size for record in records)
    if claimed > size:
        raise ClaimError(f'records of {claimed} bytes in a file of {size}')
    for record in records:
        if record.filename.endswith(PICKLE):
            _check_calls(io.BytesIO(archive.read(record)))


def _check_calls(file: IO[bytes]) -> None:
    for call in _calls(file):
        if call in FILLED:
            raise ClaimError(f'a call of {call.replace(" ", ".")}')


def _calls(file: IO[bytes]) -> Iterator[str]:
    # torch executes what stands before a fault, and tells of the fault itself
    with suppress(ValueError):
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == 'GLOBAL':
                yield argument


def check_tensors(content: Mapping[Any, Any], size: int) -> None:
    """Refuse tensors that claim more bytes than their file has.

    A tensor may repeat a few bytes over any shape, until somebody copies it.

    Args:
        content: What was read.
        size: Bytes of the file.

    Raises:
        ClaimError: naming the shape.
    """
    for tensor in tensors_in(content):
        plain = tensor.layout is torch.strided and tensor.device.type == 'cpu'
        if not plain or tensor.numel() * tensor.element_size() > size:
            raise ClaimError(
                f'a tensor that claims the shape {tuple(tensor.shape)} in a file of '
                f'{size} bytes'
            )


def tensors_in(content: Any) -> Iterator[Tensor]:
    """Yield the tensors of nested dicts, lists and tuples, each container once."""
    seen: set[int] = set()
    left = [content]
    while left:
        value = left.pop()
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (Mapping, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            left.extend(value.values() if isinstance(value, Mapping) else value)
