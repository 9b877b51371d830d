"""COCO's instance annotations: where a file of any size has what."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmwsss.datasets.tag_list import some_names, written_name
from mmwsss.utils.errors import DataError
from mmwsss.utils.json_stream import Element, stream_elements

UNUSABLE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
MAX_PIXELS = 178_956_970
"""Largest image that Pillow opens."""


@dataclass(frozen=True)
class Instances:
    """Where a file of instance annotations has what; some 30 bytes an annotation.

    Args:
        path: The file.
        names: n image names without suffix, ascending.
        sizes: (n, 2) height and width in pixels.
        first: (n + 1,) annotations of image i are ``first[i]`` to ``first[i + 1]``.
        places: (m, 2) first byte and number of bytes of each annotation, by image.
        labels: Category id to label, 1 = first after the background.
    """

    path: Path
    names: list[str]
    sizes: NDArray[np.int64]
    first: NDArray[np.int64]
    places: NDArray[np.int64]
    labels: dict[int, int]

    def annotations(self, index: int) -> list[dict[str, Any]]:
        """Read the annotations of an image, in the file's order."""
        with open(self.path, 'rb') as file:
            found = []
            for start, length in self.places[self.first[index] : self.first[index + 1]]:
                file.seek(start)
                found.append(json.loads(file.read(length)))
        return found


def read_instances(path: Path, classes: Sequence[str]) -> Instances:
    """Pass over a file of instance annotations once and note where all is.

    Args:
        path: COCO's ``instances_*.json``, of any size.
        classes: Foreground class names, ``_`` for spaces.

    Raises:
        DataError: if the file is broken, no instance annotations, of other classes,
            or an entry lacks something or names what does not exist.
    """
    images: dict[int, tuple[str, int, int]] = {}
    categories: dict[int, str] = {}
    # image, category, first byte and length of each annotation
    columns = [array('q') for _ in range(4)]
    for element in stream_elements(path):
        try:
            if element.key == 'images':
                _note_image(json.loads(element.content), images)
            elif element.key == 'categories':
                entry = element.value
                categories[int(entry['id'])] = written_name(str(entry['name']))
            elif element.key == 'annotations':
                _note_annotation(element, columns)
        except UNUSABLE as error:
            raise DataError(
                f'{path}, byte {element.start}: an entry of {element.key} is not '
                f"COCO's ({error!r})"
            ) from error
    if not images or not categories:
        raise DataError(
            f'{path} has no {"images" if categories else "categories"}: name '
            "COCO's instances_*.json with --annotations"
        )
    labels = _labels(path, categories, classes)
    return _by_image(path, images, labels, [np.asarray(c) for c in columns])


def _note_image(entry: dict[str, Any], images: dict[int, tuple[str, int, int]]) -> None:
    name = PurePosixPath(entry['file_name']).with_suffix('').as_posix()
    height, width = int(entry['height']), int(entry['width'])
    if int(entry['id']) in images or min(height, width) < 1:
        raise ValueError(f'{name}: its id is taken or it has no pixels')
    if height * width > MAX_PIXELS:
        raise ValueError(f'{name}: {width}x{height} pixels are more than {MAX_PIXELS}')
    images[int(entry['id'])] = (name, height, width)


def _note_annotation(element: Element, columns: list[array[int]]) -> None:
    entry = element.value
    place = (element.start, len(element.content))
    for column, value in zip(
        columns, (int(entry['image_id']), int(entry['category_id']), *place)
    ):
        column.append(value)


def _labels(
    path: Path, categories: dict[int, str], classes: Sequence[str]
) -> dict[int, int]:
    if sorted(categories.values()) != sorted(classes):
        odd = sorted(set(categories.values()) ^ set(classes)) or ['a name twice']
        raise DataError(
            f"{path} has not COCO's {len(classes)} categories: they differ in "
            f'{some_names(odd)}'
        )
    return {number: 1 + classes.index(name) for number, name in categories.items()}


def _by_image(
    path: Path,
    images: dict[int, tuple[str, int, int]],
    labels: dict[int, int],
    columns: list[NDArray[np.int64]],
) -> Instances:
    owners, kinds, starts, lengths = columns
    for what, found, known in (('image', owners, images), ('category', kinds, labels)):
        strays = np.setdiff1d(found, np.fromiter(known, np.int64))
        if len(strays):
            raise DataError(
                f'{path}: an annotation is of {what} {strays[0]}, not there'
            )
    ids = sorted(images, key=lambda number: images[number][0])
    names = [images[number][0] for number in ids]
    if len(set(names)) < len(names):
        raise DataError(f'{path} has two images of one name')
    rank = dict(zip(ids, range(len(ids))))
    rows = np.fromiter((rank[n] for n in owners.tolist()), np.int64, len(owners))
    order = np.argsort(rows, kind='stable')
    return Instances(
        path=path,
        names=names,
        sizes=np.array([images[number][1:] for number in ids], np.int64),
        first=np.searchsorted(rows[order], np.arange(len(ids) + 1)),
        places=np.stack([starts, lengths], 1)[order],
        labels=labels,
    )
