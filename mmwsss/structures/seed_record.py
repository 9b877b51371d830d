"""Seeds on disk: one record an image, localization maps of its classes."""

from __future__ import annotations

import json
import math
import reprlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmwsss.structures.wsss_data_sample import WSSSDataSample
from mmwsss.utils.digests import digest_json, digest_tensors
from mmwsss.utils.errors import ConfigError
from mmwsss.utils.json_stream import parse_json

Size = tuple[int, int]

SIZES = ('input_shape', 'img_shape', 'ori_shape')
# half precision moves the mIoU by at most 0.08 at any threshold on maps of all kinds
# measured; 255 steps move it by several points at low thresholds on peaked maps
MAP_TYPE = np.dtype('<f2')
# a map that is a maximum over epochs is kept in the steps it is compared in
STEP_TYPE = np.dtype(np.uint8)
STEPS = 255
MAX_BYTES = 1 << 30
"""Of an image's maps as they are kept: what a record may claim to unpack to."""
MAX_PIXELS = 1 << 28
"""Of an image or its network input; Pillow opens no image that has as many."""
TYPE_BY_STEPS: dict[int | None, np.dtype[Any]] = {None: MAP_TYPE, STEPS: STEP_TYPE}


@dataclass(frozen=True, eq=False)
class SeedRecord:
    """The localization maps of an image, and what brings them to its pixels.

    Args:
        maps: (k, h, w) on the network's grid: floats in [0, 1], kept in half
            precision, or uint8 for multiples of 1/255, kept as they are.
        classes: k foreground class indices, ascending, 0 = first after background.
        input_shape: (H, W) in pixels that the grid covers, padding included.
        img_shape: (H, W) in pixels of the image inside the network input.
        ori_shape: (H, W) in pixels of the image on disk.
        align_corners: How the grid is up-sampled to those pixels.

    Raises:
        ValueError: if the parts do not fit one another or a value is outside [0, 1].
    """

    maps: NDArray[np.float16] | NDArray[np.uint8]
    classes: tuple[int, ...]
    input_shape: Size
    img_shape: Size
    ori_shape: Size
    align_corners: bool

    def __post_init__(self) -> None:
        kept = STEP_TYPE if self.maps.dtype == STEP_TYPE else MAP_TYPE
        maps: NDArray[Any] = np.ascontiguousarray(self.maps, dtype=kept)
        if maps.ndim != 3 or len(maps) != len(self.classes) or 0 in maps.shape[1:]:
            raise ValueError(
                f'maps: expected shape ({len(self.classes)}, h, w), got {maps.shape}'
            )
        if maps.nbytes > MAX_BYTES:
            raise ValueError(f'maps: {maps.nbytes} bytes are more than {MAX_BYTES}')
        if kept is MAP_TYPE and not ((maps >= 0) & (maps <= 1)).all():
            raise ValueError('maps: expected values in [0, 1]')
        object.__setattr__(self, 'maps', maps)
        object.__setattr__(self, 'classes', tuple(int(c) for c in self.classes))
        ascending = list(self.classes) == sorted(set(self.classes))
        if not ascending or any(index < 0 for index in self.classes):
            raise ValueError(f'classes: expected ascending, >= 0, got {self.classes}')
        for name in SIZES:
            size = tuple(int(length) for length in getattr(self, name))
            if len(size) != 2 or min(size) < 1 or math.prod(size) > MAX_PIXELS:
                raise ValueError(f'{name}: expected (H, W), got {size}')
            object.__setattr__(self, name, size)
        if any(i > n for i, n in zip(self.img_shape, self.input_shape)):
            raise ValueError(
                f'img_shape {self.img_shape} exceeds input_shape {self.input_shape}'
            )

    @classmethod
    def from_sample(cls, sample: WSSSDataSample) -> SeedRecord:
        """Take the maps of a predicted sample.

        Raises:
            ConfigError: if the sample has no maps or not the image's sizes.
        """
        if 'localization' not in sample:
            raise ConfigError('the sample has no localization: predict it first')
        missing = {'img_shape', 'ori_shape'} - set(sample.metainfo_keys())
        if missing:
            raise ConfigError(
                f'the sample lacks {", ".join(sorted(missing))}: add it to meta_keys '
                'of PackSegInputs'
            )
        pixels = sample.localization
        return cls(
            maps=pixels.data.detach().to('cpu', torch.float16).numpy(),
            classes=pixels.classes,
            input_shape=pixels.input_shape,
            img_shape=sample.img_shape,
            ori_shape=sample.ori_shape,
            align_corners=bool(pixels.align_corners),
        )

    def tensor(self) -> Tensor:
        """Return the maps, (k, h, w) float32 in [0, 1]."""
        values = torch.from_numpy(self.maps.astype(np.float32))
        return values / STEPS if self.maps.dtype == STEP_TYPE else values

    def with_classes(self, classes: Sequence[int]) -> SeedRecord:
        """Return the record with maps of 0 for classes that have none.

        Args:
            classes: Ascending; those of the record are among them.

        Raises:
            ValueError: if a map's class is not.
        """
        if set(self.classes) - set(classes):
            raise ValueError(f'classes: {self.classes} are not all in {classes}')
        maps = np.zeros((len(classes), *self.maps.shape[1:]), self.maps.dtype)
        maps[[list(classes).index(own) for own in self.classes]] = self.maps
        return replace(self, maps=maps, classes=tuple(classes))

    def geometry(self) -> dict[str, Any]:
        """Return the keyword arguments of ``functional.localization.maps_to_image``."""
        names = (*SIZES, 'align_corners')
        return {name: getattr(self, name) for name in names}


class SeedCodec:
    """Bytes of a seed record: a line of JSON, then the deflated maps.

    The low bytes of all values come before the high bytes, which deflates better. The
    header of uint8 maps names their ``steps``.
    """

    kind = 'seeds'
    version = 1
    suffix = '.seed'
    sealed = True

    def encode(self, value: SeedRecord) -> bytes:
        """Return the record's bytes."""
        header = dict(
            value.geometry(), classes=value.classes, grid=value.maps.shape[1:]
        )
        if value.maps.dtype == STEP_TYPE:
            header['steps'] = STEPS
        planes = value.maps.view(np.uint8).reshape(-1, value.maps.itemsize).T
        line = json.dumps(header, sort_keys=True).encode()
        return line + b'\n' + zlib.compress(planes.tobytes())

    def decode(self, content: bytes) -> SeedRecord:
        """Return the record; raise ValueError if the bytes are none's."""
        line, _, packed = content.partition(b'\n')
        header = parse_json(line)
        try:
            shape = (len(header['classes']), *header.pop('grid'))
            kind = TYPE_BY_STEPS[header.pop('steps', None)]
            _check_header(header, shape)
            planes = _inflate(packed, math.prod(shape) * kind.itemsize)
            values = planes.reshape(kind.itemsize, -1).T
            maps = np.ascontiguousarray(values).view(kind).reshape(shape)
            return SeedRecord(maps=maps, **header)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f'unknown header {reprlib.repr(header)}') from error


def _check_header(header: Mapping[str, Any], shape: tuple[Any, ...]) -> None:
    """Raise ValueError unless all is of the kinds that ``encode`` writes."""
    numbers = [*shape, *header['classes']]
    numbers += [length for name in SIZES for length in header[name]]
    plain = all(type(number) is int and number >= 0 for number in numbers)
    if not plain or len(shape) != 3 or type(header['align_corners']) is not bool:
        raise ValueError(f'unknown header {reprlib.repr(header)}')


def _inflate(packed: bytes, length: int) -> NDArray[np.uint8]:
    """Inflate to just ``length`` bytes: a damaged header must not fill the memory."""
    if length > MAX_BYTES:
        raise ValueError(f'{length} bytes of maps are more than {MAX_BYTES}')
    stream = zlib.decompressobj()
    try:
        # one byte more than is wanted shows a surplus; 0 would mean no limit
        content = stream.decompress(packed, length + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(content) != length or not stream.eof or stream.unused_data:
        raise ValueError(f'expected {length} bytes of maps')
    return np.frombuffer(content, dtype=np.uint8)


def seed_identity(
    *,
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    classes: Sequence[str],
    image_ids: Sequence[str],
) -> dict[str, str]:
    """Return what seeds are made from, as digests, for ``ArtefactStore``.

    Args:
        config: Every setting the maps depend on (model, test pipeline, protocol),
            and none they do not (work folder, workers, processes).
        weights: The model's tensors by name.
        classes: Class names of the data set.
        image_ids: Ids of the split, in its order.
    """
    dataset = dict(classes=list(classes), image_ids=list(image_ids))
    return {
        'config': digest_json(config),
        'checkpoint': digest_tensors(weights),
        'data set': digest_json(dataset),
    }
