"""A frozen network's features of an image and of its mirror image, as stored."""

from __future__ import annotations

import json
import math
import reprlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmwsss.utils.json_stream import parse_json

STORED_TYPE = np.dtype('<f2')


@dataclass(frozen=True, eq=False)
class FeatureRecord:
    """What ``LoadFeatures`` loads in place of an image.

    Args:
        pairs: (2 D + 1, h, w) float16, see ``functional.feature_pairs``.
        ori_shape: (height, width) of the image in pixels.
    """

    pairs: NDArray[np.float16]
    ori_shape: tuple[int, int]


class FeatureCodec:
    """Bytes of a feature record: a line of JSON, then the values."""

    kind = 'features'
    version = 1
    suffix = '.features'
    sealed = True

    def encode(self, value: FeatureRecord) -> bytes:
        """Return the record's bytes."""
        header = dict(shape=value.pairs.shape, ori_shape=value.ori_shape)
        values = np.ascontiguousarray(value.pairs, STORED_TYPE)
        return json.dumps(header, sort_keys=True).encode() + b'\n' + values.tobytes()

    def decode(self, content: bytes) -> FeatureRecord:
        """Return the record; raise ValueError if the bytes are none's."""
        line, _, values = content.partition(b'\n')
        header = parse_json(line)
        try:
            shape, ori_shape = (
                _lengths(header, 'shape', 3),
                _lengths(header, 'ori_shape', 2),
            )
        except (TypeError, KeyError) as error:
            raise ValueError(f'unknown header {reprlib.repr(header)}') from error
        if len(values) != math.prod(shape) * STORED_TYPE.itemsize:
            raise ValueError(f'expected {math.prod(shape)} values')
        pairs = np.frombuffer(values, STORED_TYPE).reshape(shape)
        return FeatureRecord(pairs, (ori_shape[0], ori_shape[1]))


def _lengths(header: Any, name: str, count: int) -> tuple[int, ...]:
    lengths = tuple(header[name])
    if len(lengths) != count or not all(type(n) is int and n > 0 for n in lengths):
        raise ValueError(f'{name}: expected {count} lengths, got {lengths}')
    return lengths
