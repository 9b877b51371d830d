"""Stores of seeds, to and from the field's dictionaries.

The dictionaries are what most releases write: ``np.save`` of ``{class: map}`` an image,
maps float32 (H, W) of the image's size, classes counted from 0 without the background.
"""

from __future__ import annotations

import io
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmwsss.functional.localization import maps_to_image
from mmwsss.structures.seed_record import SeedCodec, SeedRecord
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.atomic import atomic_write_bytes
from mmwsss.utils.checkpoint import ArrayType, empty_array
from mmwsss.utils.digests import digest_file, digest_json
from mmwsss.utils.errors import DataError, WSSSError
from mmwsss.utils.progress import track

SUFFIX = '.npy'
SHAPES = 3
# what NumPy's own pickles of arrays and numbers name, of both its generations
HARMLESS = {
    (f'numpy{core}.{module}', name)
    for core in ('.core', '._core')
    for module, name in (
        ('multiarray', '_reconstruct'),
        ('multiarray', 'scalar'),
        ('numeric', '_frombuffer'),
    )
} | {('numpy', 'ndarray'), ('numpy', 'dtype'), ('_codecs', 'encode')}


STAND_INS = {'ndarray': ArrayType, '_reconstruct': empty_array}


class _ArraysOnly(pickle.Unpickler):
    """Loads arrays and plain values; a file can make it call nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in HARMLESS:
            raise ValueError(f'it holds {module}.{name}, no array')
        # called, they would make room for arrays of any shape
        if name in STAND_INS:
            return STAND_INS[name]
        return super().find_class(module, name)


def maps_of(record: SeedRecord) -> dict[int, NDArray[np.float32]]:
    """Return a record's maps of the image's size by class, in [0, 1]."""
    maps = maps_to_image(record.tensor(), **record.geometry()).numpy()
    return dict(zip(record.classes, maps))


def export_seeds(
    store: ArtefactStore[SeedRecord], folder: str | Path, keys: list[str] | None = None
) -> int:
    """Write a store's records as dictionaries ``<id>.npy``; return how many.

    Files that are there are written anew, as nothing tells what they are made from.

    Args:
        store: Of seeds.
        folder: Where the dictionaries go.
        keys: Records to write, by default all.

    Raises:
        ArtefactError: if a record is damaged or a file cannot be written.
    """
    names = store.keys() if keys is None else keys
    for name in track(names, 'Dictionaries'):
        content = io.BytesIO()
        np.save(content, np.array(maps_of(store.read(name)), dtype=object))
        atomic_write_bytes(Path(folder) / f'{name}{SUFFIX}', content.getvalue())
    return len(names)


def read_dictionary(path: str | Path) -> dict[int, NDArray[np.float32]]:
    """Read ``{class: map}``; code in the file is refused, not run.

    Args:
        path: A file of ``np.save``.

    Returns:
        Class index to (H, W) float32, ascending.

    Raises:
        DataError: if the file is missing, damaged, or holds something else.
    """
    try:
        with open(path, 'rb') as file:
            value = _load_object(file)
        maps = {_index(key): np.asarray(value[key], np.float32) for key in value}
    except FileNotFoundError as error:
        raise DataError(f'{path} is missing') from error
    except Exception as error:
        # an unpickler of damaged bytes may raise anything
        raise DataError(
            f'{path} is no dictionary of maps by class ({error}): expected np.save of '
            '{class index: (height, width) array}'
        ) from error
    sizes = {array.shape for array in maps.values()}
    if len(sizes) > 1 or any(len(size) != 2 for size in sizes):
        raise DataError(
            f'{path} has maps of shapes {sorted(sizes)[:SHAPES]}, expected one of '
            '(height, width)'
        )
    return dict(sorted(maps.items()))


def _load_object(file: io.BufferedReader) -> dict[Any, Any]:
    version = np.lib.format.read_magic(file)
    if version[0] > 3:
        raise ValueError(f'version {version} of the format is unknown')
    read = {
        1: np.lib.format.read_array_header_1_0,
        2: np.lib.format.read_array_header_2_0,
    }
    shape, _, dtype = read.get(version[0], read[2])(file)
    if shape != () or not dtype.hasobject:
        raise ValueError(f'an array of shape {shape} and type {dtype}')
    value = _ArraysOnly(file).load()
    if isinstance(value, np.ndarray):
        value = value.item()
    if not isinstance(value, dict):
        raise ValueError(f'a {type(value).__name__}')
    return value


def _index(key: Any) -> int:
    if isinstance(key, bool) or not isinstance(key, (int, np.integer)) or key < 0:
        raise ValueError(f'{key!r} is no class index')
    return int(key)


def record_of(
    maps: dict[int, NDArray[np.float32]], size: tuple[int, int] | None = None
) -> SeedRecord:
    """Return the record of maps that cover their image.

    Args:
        maps: Class index to (H, W), in [0, 1].
        size: (height, width) of the image in pixels; by default that of the maps.

    Raises:
        ValueError: if a value is outside [0, 1], or neither maps nor size tell how
            large the image is.
    """
    if not maps and size is None:
        raise ValueError('it has no map; tell the size of its image by --images')
    grid = next(iter(maps.values())).shape if maps else (1, 1)
    planes: NDArray[Any] = np.zeros((len(maps), *grid), np.float32)
    for plane, values in zip(planes, maps.values()):
        plane[:] = values
    return SeedRecord(
        maps=planes,
        classes=tuple(maps),
        input_shape=size or grid,
        img_shape=size or grid,
        ori_shape=size or grid,
        align_corners=False,
    )


def import_seeds(
    source: str | Path,
    folder: str | Path,
    *,
    size_of: Callable[[str], tuple[int, int]] | None = None,
) -> ArtefactStore[SeedRecord]:
    """Make a store of a folder of dictionaries; a stopped import goes on.

    Args:
        source: Folder of ``<id>.npy``, sub-folders included.
        folder: Where the store goes.
        size_of: Returns (height, width) of an image by its id, where maps are
            smaller than their image; by default maps have the image's size.

    Returns:
        The finished store.

    Raises:
        DataError: if there is no dictionary or one is not usable.
        ArtefactError: if the folder holds another store, or cannot be written.
    """
    source = Path(source)
    paths = {
        path.relative_to(source).as_posix().removesuffix(SUFFIX): path
        for path in sorted(source.rglob(f'*{SUFFIX}'))
    }
    if not paths:
        raise DataError(f'{source} has no {SUFFIX} file')
    digests = {name: digest_file(path) for name, path in paths.items()}
    identity = {'dictionaries': digest_json(digests), 'sizes': str(bool(size_of))}
    store = ArtefactStore.create(folder, SeedCodec(), identity)
    for name in track(store.pending(list(paths)), 'Records'):
        maps = read_dictionary(paths[name])
        try:
            store.write(name, record_of(maps, size_of(name) if size_of else None))
        except WSSSError:
            raise
        except ValueError as error:
            raise DataError(f'{paths[name]} cannot be stored: {error}') from error
    store.finish(list(paths))
    return store


def info_of(store: ArtefactStore[SeedRecord]) -> dict[str, Any]:
    """Return what a store holds: numbers, bytes, origin and maps by class.

    Every record is read.

    Raises:
        ArtefactError: if one is damaged.
    """
    classes: Counter[int] = Counter()
    grids: Counter[str] = Counter()
    keys = store.keys()
    for name in track(keys, 'Records'):
        record = store.read(name)
        classes.update(record.classes)
        grids[f'{record.maps.shape[1]}x{record.maps.shape[2]} {record.maps.dtype}'] += 1
    files = [path for path in store.root.rglob('*') if path.is_file()]
    return dict(
        records=len(keys),
        files=len(files),
        shards=len(store.shards.files()),
        bytes=sum(path.stat().st_size for path in files),
        finished=store.is_finished(),
        identity=store.identity,
        grids=dict(grids.most_common()),
        maps_by_class={str(index): classes[index] for index in sorted(classes)},
    )
