"""Write the tag list of a VOC split from its masks or its XML annotations.

python tools/dataset_converters/voc_tags.py data/VOCdevkit/VOC2012 --split train_aug
A mask is looked for in each --masks-dir in turn. With --source both the tags are the
masks', and <split>_disagreements.csv tells where the XML annotations say otherwise.
With --less and --name it first writes a split: what one list has and another lacks.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from mmwsss.apis.launch import run_tool
from mmwsss.utils.atomic import atomic_write_text
from mmwsss.utils.errors import DataError
from mmwsss.utils.progress import track

SPLITS = Path('ImageSets', 'Segmentation')
IGNORED_LABEL = 255
CHUNK = 32

Tags = TypeVar('Tags')


def tags_of_mask(image_id: str, *, folder: Path, num_classes: int) -> list[int]:
    """Return the classes that a mask shows, foreground indices from 0.

    Args:
        image_id: Name of the PNG without suffix.
        folder: Folder of the masks.
        num_classes: Number of foreground classes; labels are 0..num_classes and 255.

    Raises:
        DataError: if the mask is missing, unreadable, not of one channel, or holds
            another label.
    """
    path = folder / f'{image_id}.png'
    try:
        with Image.open(path) as image:
            mask = np.asarray(image)
    except FileNotFoundError as error:
        raise DataError(
            f'mask not found: {path}; name their folder with --masks-dir'
        ) from error
    # decoders raise at will
    except Exception as error:
        raise DataError(f'mask cannot be read: {path} ({error})') from error
    if mask.ndim != 2:
        raise DataError(f'mask {path} has {mask.shape[-1]} channels, expected one')
    if mask.dtype.kind not in 'biu':
        raise DataError(f'mask {path} holds {mask.dtype} values, expected labels')
    labels = set(np.unique(mask).tolist()) - {0, IGNORED_LABEL}
    if labels and max(labels) > num_classes:
        raise DataError(
            f'mask {path} has label {max(labels)}, expected 0..{num_classes} or '
            f'{IGNORED_LABEL}'
        )
    return sorted(label - 1 for label in labels)


def tags_of_first_mask(
    image_id: str, *, folders: Sequence[Path], num_classes: int
) -> list[int]:
    """Return the classes of the mask in the first folder that has one."""
    name = f'{image_id}.png'
    folder = next((f for f in folders if (f / name).is_file()), folders[0])
    return tags_of_mask(image_id, folder=folder, num_classes=num_classes)


def tags_of_both(
    image_id: str,
    *,
    of_mask: Callable[[str], list[int]],
    of_xml: Callable[[str], list[int]],
) -> tuple[list[int], list[int]]:
    """Return the tags of the mask and those of the XML annotation."""
    return of_mask(image_id), of_xml(image_id)


def tags_of_xml(
    image_id: str, *, folder: Path, classes: Sequence[str], keep_difficult: bool
) -> list[int]:
    """Return the classes of an XML annotation's objects, foreground indices from 0.

    Args:
        image_id: Name of the XML file without suffix.
        folder: Folder of the annotations.
        classes: Foreground class names.
        keep_difficult: Whether objects marked difficult count.

    Raises:
        DataError: if the file is missing, unreadable, or names an unknown class.
    """
    path = folder / f'{image_id}.xml'
    try:
        objects = ElementTree.parse(path).getroot().findall('object')
    except FileNotFoundError as error:
        raise DataError(f'annotation not found: {path}') from error
    except (ElementTree.ParseError, OSError, ValueError) as error:
        raise DataError(f'annotation cannot be read: {path} ({error})') from error
    names = {
        str(item.findtext('name')).strip()
        for item in objects
        if keep_difficult or item.findtext('difficult', '0').strip() != '1'
    }
    if not names <= set(classes):
        unknown = ', '.join(sorted(names - set(classes)))
        raise DataError(f'annotation {path} names unknown classes: {unknown}')
    return sorted(classes.index(name) for name in names)


def read_split(data_root: Path, split: str) -> list[str]:
    """Return the ids of a split.

    Raises:
        DataError: if the list is missing or empty.
    """
    from mmwsss.datasets.voc import read_voc_list, spelled_list

    path = Path(spelled_list(str(data_root / SPLITS / f'{split}.txt')))
    if not path.is_file():
        raise DataError(f'split not found: {path}; set DATA_ROOT and --split')
    ids = read_voc_list(str(path))
    if not ids:
        raise DataError(f'split is empty: {path}')
    return ids


def write_difference(data_root: Path, split: str, *, less: str, name: str) -> None:
    """Write the split ``name``: the ids of ``split``, in order, that ``less`` lacks.

    Raises:
        DataError: if a list is missing, nothing is left, or ``less`` is not a part of
            ``split``.
    """
    ids, taken = read_split(data_root, split), set(read_split(data_root, less))
    if stray := taken - set(ids):
        raise DataError(f'{less} is no part of {split}, which lacks {min(stray)}')
    rest = [image_id for image_id in ids if image_id not in taken]
    if not rest:
        raise DataError(f'{less} has all images of {split}; nothing is left')
    path = data_root / SPLITS / f'{name}.txt'
    atomic_write_text(path, ''.join(f'{image_id}\n' for image_id in rest))


def collect_tags(
    ids: Sequence[str], tags_of: Callable[[str], Tags], *, workers: int
) -> dict[str, Tags]:
    """Return the tags of all images, read by several processes."""
    with ProcessPoolExecutor(workers) as pool:
        found = pool.map(tags_of, ids, chunksize=CHUNK)
        try:
            progress = track(found, 'Reading tags', total=len(ids))
            return dict(zip(ids, progress, strict=True))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def write_disagreements(
    path: Path,
    found: Mapping[str, tuple[list[int], list[int]]],
    classes: Sequence[str],
) -> int:
    """Write a line an image whose mask and XML annotation disagree; count them.

    Args:
        path: CSV file: image, classes of the mask alone, classes of the XML alone.
        found: Tags of the mask and of the XML annotation by image id.
        classes: Foreground class names.
    """
    lines = ['image,mask_only,xml_only\n']
    for image_id, (of_mask, of_xml) in found.items():
        if of_mask != of_xml:
            sides = (set(of_mask) - set(of_xml), set(of_xml) - set(of_mask))
            cells = [';'.join(classes[i] for i in sorted(side)) for side in sides]
            lines.append(','.join([image_id, *cells]) + '\n')
    atomic_write_text(path, ''.join(lines))
    return len(lines) - 1


def write_tags(arguments: argparse.Namespace) -> Path:
    """Write the list that the arguments ask for and return its path."""
    from mmseg.datasets import PascalVOCDataset

    from mmwsss.datasets import foreground_classes, write_tag_list

    classes = foreground_classes(PascalVOCDataset.METAINFO)
    root, split = arguments.data_root, arguments.split
    if bool(arguments.less) != bool(arguments.name):
        raise DataError('--less and --name go together')
    if arguments.less:
        write_difference(root, split, less=arguments.less, name=arguments.name)
        split = arguments.name
    of_mask = partial(
        tags_of_first_mask,
        folders=[root / folder for folder in arguments.masks_dir],
        num_classes=len(classes),
    )
    of_xml = partial(
        tags_of_xml,
        folder=root / 'Annotations',
        classes=classes,
        keep_difficult=arguments.keep_difficult,
    )
    ids, workers = read_split(root, split), arguments.workers
    if arguments.source == 'both':
        both = partial(tags_of_both, of_mask=of_mask, of_xml=of_xml)
        pairs = collect_tags(ids, both, workers=workers)
        tags = {image_id: pair[0] for image_id, pair in pairs.items()}
        report = root / SPLITS / f'{split}_disagreements.csv'
        count = write_disagreements(report, pairs, classes)
        print(f'{report}: masks and XML disagree on {count} of {len(pairs)} images')
    else:
        source = of_mask if arguments.source == 'masks' else of_xml
        tags = collect_tags(ids, source, workers=workers)
    path = root / SPLITS / f'{split}_tags.txt'
    write_tag_list(path, tags, classes)
    empty = sum(not found for found in tags.values())
    print(f'{path}: {len(tags)} images, {empty} without tags')
    return path


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('data_root', type=Path, help='folder with ImageSets')
    parser.add_argument('--split', default='train_aug', help=f'list in {SPLITS}')
    parser.add_argument('--less', help='leave out the images of this list')
    parser.add_argument('--name', help='name of the split that is left')
    parser.add_argument('--source', choices=('masks', 'xml', 'both'), default='masks')
    parser.add_argument(
        '--masks-dir', nargs='+', default=['SegmentationClass', 'SegmentationClassAug']
    )
    parser.add_argument(
        '--keep-difficult', action='store_true', help='count difficult objects (xml)'
    )
    parser.add_argument('--workers', type=int, default=os.cpu_count())
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the tags."""
    write_tags(parse_arguments(arguments))


if __name__ == '__main__':
    run_tool(main)
