"""Images given to the inferencer, and what is said of each of them."""

from __future__ import annotations

import os.path as osp
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
from mmengine import fileio
from numpy.typing import NDArray

from mmwsss.datasets.image_folder import IMAGE_SUFFIXES, list_images
from mmwsss.datasets.transforms.decoding import decode_image
from mmwsss.utils.errors import ConfigError, DataError

Pixels = NDArray[np.uint8]
Point = tuple[float, float]
"""Column and row in pixels of the image."""

Inputs = str | Path | Pixels | Sequence[str | Path | Pixels]
Tags = str | Sequence[str] | Sequence[str | Sequence[str] | None] | None
"""Names for all images, or one entry an image, None where they shall be found."""
Points = Sequence[float] | Sequence[Sequence[float] | None] | None
"""One (column, row) for all images, or one entry an image."""


@dataclass(frozen=True, eq=False)
class InputImage:
    """An image that was given.

    Args:
        name: Tells it from the others and names its files.
        path: Its file or URL; None for an array.
        array: (H, W, 3) BGR; None for a file.
        tags: Names of its classes; None where they shall be found.
        point: Whose affinity is asked for; None for no point.
    """

    name: str
    path: str | None = None
    array: Pixels | None = None
    tags: tuple[str, ...] | None = None
    point: Point | None = None

    def pixels(self) -> Pixels:
        """Return the image (H, W, 3) BGR, read and decoded as data sets do it.

        Raises:
            DataError: if the file cannot be read.
        """
        if self.array is not None:
            return self.array
        try:
            content = fileio.get(self.path)
            image = decode_image(content, flag='color', backend='pillow')
            return np.ascontiguousarray(image)
        # backends and decoders raise at will
        except Exception as error:
            raise DataError(
                f'image cannot be read: {self.path} ({type(error).__name__}: {error}); '
                'fetch it again or leave it out'
            ) from error


class LoadedImage(NamedTuple):
    """An image on its way to the network."""

    source: InputImage
    """What was given."""
    pixels: Pixels
    """(H, W, 3) RGB, as it was given."""
    data: dict[str, Any]
    """``inputs`` (3, h, w) and data sample, as the config's pipeline makes them."""


def batches_of_one_size(
    images: Iterable[LoadedImage], batch_size: int
) -> Iterator[list[LoadedImage]]:
    """Yield up to ``batch_size`` images in a row whose inputs have one size."""
    batch: list[LoadedImage] = []
    for image in images:
        same = batch and batch[0].data['inputs'].shape == image.data['inputs'].shape
        if batch and (len(batch) == batch_size or not same):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch


def gather_images(
    inputs: Inputs, *, tags: Tags = None, point: Points = None
) -> list[InputImage]:
    """List the images that are meant.

    Args:
        inputs: An image or several: paths, folders (all images in them and their
            sub-folders, sorted), ``file://`` URLs, arrays (H, W, 3) uint8 in BGR.
        tags: See ``Tags``.
        point: See ``Points``.

    Raises:
        DataError: if there is no such image, or an array is none.
        ConfigError: if tags or points do not fit the number of images.
    """
    given = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    images = [image for i, item in enumerate(given) for image in _images_of(item, i)]
    if not images:
        raise DataError('no image was given: name files or folders')
    return [
        InputImage(image.name, image.path, image.array, own_tags, own_point)
        for image, own_tags, own_point in zip(
            images, _tags_of(tags, len(images)), _points_of(point, len(images))
        )
    ]


def _images_of(item: Any, index: int) -> Iterable[InputImage]:
    if isinstance(item, np.ndarray):
        _check_array(item, index)
        return [InputImage(f'array_{index}', array=np.ascontiguousarray(item))]
    if not isinstance(item, (str, Path)):
        raise DataError(
            f'image {index}: expected a path, a folder, a file:// URL or an array, got '
            f'{type(item).__name__}'
        )
    path = _local_path(str(item))
    if osp.isdir(path):
        found = list_images(path)
        if not found:
            raise DataError(
                f'{path} has no image: expected files that end in '
                f'{", ".join(IMAGE_SUFFIXES)}'
            )
        return [InputImage(name, str(Path(path, file))) for name, file in found.items()]
    if '://' not in path and not osp.isfile(path):
        raise DataError(f'no image or folder at {path}; check the path')
    return [InputImage(Path(urlsplit(path).path if '://' in path else path).stem, path)]


def _local_path(text: str) -> str:
    if not text.startswith('file://'):
        return text
    parts = urlsplit(text)
    if parts.netloc not in ('', 'localhost'):
        raise DataError(
            f'{text} is on another machine ({parts.netloc}); a path on this one has '
            'three slashes: file:///folder/image.jpg'
        )
    return url2pathname(parts.path)


def _check_array(array: NDArray, index: int) -> None:
    if (
        array.dtype != np.uint8
        or array.ndim != 3
        or array.shape[2] != 3
        or not array.size
    ):
        raise DataError(
            f'image {index}: expected an array (H, W, 3) uint8 in BGR, as cv2.imread '
            f'gives, got {array.shape} {array.dtype}'
        )


def _tags_of(tags: Tags, count: int) -> list[tuple[str, ...] | None]:
    if tags is None:
        return [None] * count
    if isinstance(tags, str):
        return [(tags,)] * count
    each: list[Any] = list(tags)
    if each and all(isinstance(tag, str) for tag in each):
        return [tuple(each)] * count
    _check_count('tags', each, count)
    return [_own_tags(entry) for entry in each]


def _own_tags(entry: Any) -> tuple[str, ...] | None:
    if entry is None:
        return None
    names = (entry,) if isinstance(entry, str) else tuple(entry)
    if not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f'tags: expected names of classes, got {entry!r}; None lets the network '
            'find them'
        )
    return names


def _points_of(points: Points, count: int) -> list[Point | None]:
    if points is None:
        return [None] * count
    each: list[Any] = list(points)
    if len(each) == 2 and not any(e is None or isinstance(e, Sequence) for e in each):
        return [_own_point(each)] * count
    _check_count('point', each, count)
    return [None if entry is None else _own_point(entry) for entry in each]


def _own_point(entry: Any) -> Point:
    try:
        column, row = map(float, entry)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f'point: expected a column and a row in pixels, got {entry!r}'
        ) from error
    return column, row


def _check_count(name: str, entries: list[Any], count: int) -> None:
    if len(entries) != count:
        raise ConfigError(
            f'{name}: expected one entry an image, {count} in all, got {len(entries)}'
        )
