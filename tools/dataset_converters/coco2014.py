"""Make masks of 81 classes and tags of COCO-2014 from its instance annotations.

python tools/dataset_converters/coco2014.py data/coco2014 --split train
It reads annotations/instances_train2014.json and writes masks/train2014,
lists/train.txt and lists/train_tags.txt. A run that was stopped goes on where it was.

Where objects overlap, the smaller one (by COCO's area) is on top. Crowds become 255
below all objects, and count as tags of their class.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmwsss.apis.launch import run_tool
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.atomic import atomic_write_text, remove_temporaries
from mmwsss.utils.digests import digest_file
from mmwsss.utils.errors import DataError, DependencyError, WSSSError
from mmwsss.utils.label_codec import IGNORED_LABEL, LabelCodec
from mmwsss.utils.progress import track

if TYPE_CHECKING:
    from mmwsss.datasets.coco_instances import Instances

RULE = 'smaller objects on top, crowds 255 below'
IMAGES_A_JOB = 64
MIN_POLYGON = 6


class MaskCodec(LabelCodec):
    """Masks as palette PNG files."""

    kind = 'masks'


def semantic_mask(
    annotations: Sequence[dict[str, Any]],
    *,
    height: int,
    width: int,
    labels: dict[int, int],
) -> NDArray[np.uint8]:
    """Paint an image's annotations, smaller objects over larger ones and crowds.

    Of equal ones the first annotated is on top.

    Args:
        annotations: COCO's.
        height: Of the image, pixels.
        width: Of the image, pixels.
        labels: Category id to label.

    Returns:
        (H, W) labels, 0 = background, 255 = crowd.

    Raises:
        ValueError: if a segmentation is not usable.
    """
    drawn = []
    for number, entry in enumerate(annotations):
        shape = region(entry.get('segmentation') or [], height=height, width=width)
        area = entry.get('area')
        area = shape.sum() if area is None else area
        drawn.append((not entry.get('iscrowd'), -float(area), -number, shape))
    mask = np.zeros((height, width), np.uint8)
    for is_object, _, number, shape in sorted(drawn, key=lambda item: item[:3]):
        label = labels[annotations[-number]['category_id']]
        mask[shape] = label if is_object else IGNORED_LABEL
    return mask


def region(segmentation: Any, *, height: int, width: int) -> NDArray[np.bool_]:
    """Return the pixels (H, W) of polygons or of a run-length code.

    Polygons of fewer than three points cover none.

    Raises:
        ValueError: if it is neither, or of another size than the image.
    """
    if isinstance(segmentation, dict):
        return _from_runs(segmentation, height=height, width=width)
    polygons = [[float(x) for x in polygon] for polygon in segmentation]
    if any(len(polygon) % 2 for polygon in polygons):
        raise ValueError('a polygon has an odd number of coordinates')
    if not np.isfinite([x for polygon in polygons for x in polygon]).all():
        raise ValueError('a coordinate is not finite')
    polygons = [polygon for polygon in polygons if len(polygon) >= MIN_POLYGON]
    if not polygons:
        return np.zeros((height, width), bool)
    coder = load_coder()
    return coder.decode(coder.merge(coder.frPyObjects(polygons, height, width))).astype(
        bool
    )


def _from_runs(code: dict[str, Any], *, height: int, width: int) -> NDArray[np.bool_]:
    counts, size = code.get('counts'), code.get('size')
    runs = counts_of_text(counts) if isinstance(counts, str) else list(counts or ())
    if size != [height, width] or sum(runs) != height * width or min(runs) < 0:
        raise ValueError(
            f'a run-length code of size {size} and {sum(runs)} pixels, expected '
            f'{[height, width]} and {height * width}'
        )
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T


def counts_of_text(text: str) -> list[int]:
    """Decode COCO's compressed run lengths.

    Digits of 5 bits, low ones first, bit 6 marks that more follow and bit 5 of the
    last a negative number; from the third on, lengths are differences to the last
    but one.

    Raises:
        ValueError: if the text is none.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64:
            raise ValueError(f'{character!r} is no digit of a run-length code')
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError('a run-length code is cut short')
    return runs


def load_coder() -> Any:
    """Return pycocotools' mask module.

    Raises:
        DependencyError: if it is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError as error:
        raise DependencyError(
            'polygons are drawn by pycocotools, which is not installed; run: pip '
            'install "mmwsss[coco]"'
        ) from error
    return mask


_shared: dict[str, Any] = {}


def _share(instances: Instances, store: ArtefactStore[NDArray[np.uint8]]) -> None:
    _shared.update(instances=instances, store=store)


def convert_images(start: int, stop: int) -> list[list[int] | None]:
    """Write the masks of images ``start`` to ``stop`` that are not there yet.

    Returns:
        Tags of each, foreground indices from 0; None for one without annotations.

    Raises:
        DataError: if an annotation is not usable.
    """
    instances, store = _shared['instances'], _shared['store']
    tags: list[list[int] | None] = []
    for index in range(start, stop):
        name, (height, width) = instances.names[index], instances.sizes[index].tolist()
        found = instances.annotations(index)
        try:
            labels = {instances.labels[entry['category_id']] for entry in found}
            tags.append(sorted(label - 1 for label in labels) if found else None)
            if not store.is_complete(name):
                size = dict(height=height, width=width)
                store.write(name, semantic_mask(found, **size, labels=instances.labels))
        except WSSSError:
            raise
        except (TypeError, ValueError, LookupError, ArithmeticError) as error:
            numbers = [entry.get('id') for entry in found]
            raise DataError(
                f'{instances.path}: {name} cannot be drawn ({error}); its annotations '
                f'are {numbers}'
            ) from error
    return tags


def convert_all(
    instances: Instances, store: ArtefactStore[NDArray[np.uint8]], *, workers: int
) -> list[list[int] | None]:
    """Write all masks with several processes, and return all images' tags.

    Raises:
        DataError: if an annotation is not usable, or a process was killed.
    """
    total = len(instances.names)
    tags: list[list[int] | None] = [None] * total
    with ProcessPoolExecutor(
        workers, initializer=_share, initargs=(instances, store)
    ) as pool:
        jobs: dict[Future[list[list[int] | None]], int] = {
            pool.submit(convert_images, i, min(i + IMAGES_A_JOB, total)): i
            for i in range(0, total, IMAGES_A_JOB)
        }
        try:
            for job in track(as_completed(jobs), 'Masks', total=len(jobs)):
                start = jobs.pop(job)
                tags[start : start + IMAGES_A_JOB] = job.result()
        except BrokenProcessPool as error:
            raise DataError(
                'a process was killed, for want of memory perhaps: run again with '
                'fewer --workers, finished masks are kept'
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return tags


def convert(args: argparse.Namespace) -> Iterator[str]:
    """Convert what the arguments ask for; yield what to tell the user."""
    load_coder()
    # loads mmseg, which --help and a missing package need not wait for
    from mmwsss.datasets import COCOTagDataset, foreground_classes, write_tag_list
    from mmwsss.datasets.coco_instances import read_instances

    classes = foreground_classes(COCOTagDataset.METAINFO)
    folder = f'{args.split}2014'
    path = args.annotations or args.root / f'annotations/instances_{folder}.json'
    instances = read_instances(path, classes)
    yield f'{path}: {len(instances.names)} images, {len(instances.places)} objects'
    identity = dict(annotations=digest_file(path), rule=RULE)
    codec = MaskCodec(COCOTagDataset.METAINFO['palette'])
    store = ArtefactStore.create(args.root / 'masks' / folder, codec, identity)
    found = convert_all(instances, store, workers=args.workers)
    remove_temporaries(store.root)
    tags = {n: t or [] for n, t in zip(instances.names, found) if t or args.empty}
    if not tags:
        raise DataError(f'{path} has no annotation')
    lists = args.root / 'lists'
    write_tag_list(lists / f'{args.split}_tags.txt', tags, classes)
    atomic_write_text(lists / f'{args.split}.txt', ''.join(f'{n}\n' for n in tags))
    left = len(instances.names) - len(tags)
    yield f'{lists}/{args.split}.txt: {len(tags)} images, {left} without objects'


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('root', type=Path, help='folder of the data set')
    parser.add_argument('--split', default='train', help='train or val')
    parser.add_argument('--annotations', type=Path, help='another annotation file')
    parser.add_argument(
        '--empty', action='store_true', help='list images without annotations, too'
    )
    parser.add_argument('--workers', type=int, default=os.cpu_count())
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert and tell what was written."""
    for line in convert(parse_arguments(arguments)):
        print(line)


if __name__ == '__main__':
    run_tool(main)
