"""Writes the embedded data set in the layout of PASCAL VOC."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmwsss.datasets.synthetic.classes import SYNTHETIC_METAINFO
from mmwsss.datasets.synthetic.scenes import IGNORE, SPLITS, draw_scene
from mmwsss.utils.atomic import (
    TEMPORARY_PREFIX,
    atomic_write_bytes,
    atomic_write_text,
    remove_temporaries,
)
from mmwsss.utils.errors import ConfigError, DataError
from mmwsss.utils.progress import track

STAMP = 'synthetic.json'
FORMAT = 1  # raise it with any change to what a seed gives
JPEG_QUALITY = 92
SMALLEST_SIZE = 32
IGNORE_COLOUR = (224, 224, 192)  # as in PASCAL VOC


@dataclass(frozen=True)
class SyntheticSettings:
    """What the embedded data set is made from.

    Args:
        seed: Seed of all scenes, >= 0.
        train: Number of training images.
        val: Number of validation images.
        test: Number of test images.
        size: Height and width of the images in pixels.

    Raises:
        ConfigError: if a value is out of its range.
    """

    seed: int = 0
    train: int = 480
    val: int = 120
    test: int = 120
    size: int = 96

    def __post_init__(self) -> None:
        for name, least in dict(
            seed=0, train=1, val=1, test=1, size=SMALLEST_SIZE
        ).items():
            if getattr(self, name) < least:
                raise ConfigError(
                    f'{name}: expected at least {least}, got {getattr(self, name)}'
                )

    def count(self, split: str) -> int:
        """Return the number of images of a split."""
        return {'train': self.train, 'val': self.val, 'test': self.test}[split]


def write_synthetic(root: str | Path, settings: SyntheticSettings) -> bool:
    """Write the embedded data set, or leave it as it is when it is there already.

    ``JPEGImages``, ``SegmentationClass``, ``ImageSets/Segmentation/<split>.txt`` and
    ``<split>_tags.txt`` (a line an image: id, class, class ...) are as in VOC. The
    stamp ``synthetic.json`` names settings, counts and a checksum of the tag lists;
    it says ``complete`` once everything is written, so a stopped run starts again.

    Args:
        root: Folder to write to; made if missing.
        settings: Seed, numbers of images and their size.

    Returns:
        True if the data were written, False if they were there.

    Raises:
        DataError: if the folder holds something else.
        ArtefactError: if it cannot be written.
    """
    root = Path(root)
    stamp = _stamp(settings)
    if _check_folder(root, stamp, settings):
        return False
    _write_stamp(root, {**stamp, 'complete': False})
    digest = hashlib.sha256()
    for split in SPLITS:
        tags = [
            _write_scene(root, settings, split, index)
            for index in track(range(settings.count(split)), f'Images of {split}')
        ]
        digest.update(_write_lists(root, split, tags).encode())
    remove_temporaries(root)
    _write_stamp(root, {**stamp, 'tags_sha256': digest.hexdigest(), 'complete': True})
    return True


def image_id(split: str, index: int) -> str:
    """Return the id of an image, its file name without the suffix."""
    return f'{split}_{index:05d}'


def encode_label(label: NDArray[np.uint8]) -> bytes:
    """Return a label map as a palette PNG."""
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[: len(SYNTHETIC_METAINFO['palette'])] = SYNTHETIC_METAINFO['palette']
    palette[IGNORE] = IGNORE_COLOUR
    image = Image.fromarray(label)
    image.putpalette(palette.tobytes())
    return _encode(image, 'PNG')


def _encode(image: Image.Image, kind: str, **settings: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def _write_scene(
    root: Path, settings: SyntheticSettings, split: str, index: int
) -> tuple[str, ...]:
    scene = draw_scene(settings.seed, split, index, settings.size)
    name = image_id(split, index)
    photo = _encode(Image.fromarray(scene.image), 'JPEG', quality=JPEG_QUALITY)
    atomic_write_bytes(root / 'JPEGImages' / f'{name}.jpg', photo)
    label = encode_label(scene.label)
    atomic_write_bytes(root / 'SegmentationClass' / f'{name}.png', label)
    return scene.tags


def _write_lists(root: Path, split: str, tags: list[tuple[str, ...]]) -> str:
    """Write the id list and the tag list of a split; return the tag list."""
    folder = root / 'ImageSets' / 'Segmentation'
    names = [image_id(split, index) for index in range(len(tags))]
    atomic_write_text(folder / f'{split}.txt', ''.join(f'{name}\n' for name in names))
    lines = ''.join(f'{" ".join((name, *its))}\n' for name, its in zip(names, tags))
    atomic_write_text(folder / f'{split}_tags.txt', lines)
    return lines


def _stamp(settings: SyntheticSettings) -> dict[str, Any]:
    made_from = {'format': FORMAT, **asdict(settings)}
    text = json.dumps(made_from, sort_keys=True)
    return {
        'settings': made_from,
        'settings_sha256': hashlib.sha256(text.encode()).hexdigest(),
        'classes': list(SYNTHETIC_METAINFO['classes']),
    }


def _write_stamp(root: Path, stamp: dict[str, Any]) -> None:
    atomic_write_text(root / STAMP, json.dumps(stamp, indent=2) + '\n')


def _check_folder(
    root: Path, stamp: dict[str, Any], settings: SyntheticSettings
) -> bool:
    """Tell whether the data are complete; raise if the folder holds other data."""
    path = root / STAMP
    remedy = 'choose another folder or remove this one'
    if not path.exists():
        if root.exists() and not _is_blank(root):
            raise DataError(f'{root} is not empty and has no {STAMP}: {remedy}')
        return False
    try:
        found = json.loads(path.read_text())
        made_from = found['settings']
        complete = bool(found['complete'])
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f'{path} is no stamp of this generator: {remedy}') from error
    if made_from != stamp['settings']:
        raise DataError(
            f'{root} was made with {made_from}, asked for {stamp["settings"]}: {remedy}'
        )
    return complete and _files_present(root, settings)


def _is_blank(folder: Path) -> bool:
    """Tell whether a folder has nothing but what a killed writer left."""
    return folder.is_dir() and all(
        path.name.startswith(TEMPORARY_PREFIX) for path in folder.iterdir()
    )


def _files_present(root: Path, settings: SyntheticSettings) -> bool:
    names = [
        f'ImageSets/Segmentation/{split}{end}.txt'
        for split in SPLITS
        for end in ('', '_tags')
    ]
    for split in SPLITS:
        for index in range(settings.count(split)):
            name = image_id(split, index)
            names += [f'JPEGImages/{name}.jpg', f'SegmentationClass/{name}.png']
    return all((root / name).is_file() for name in names)
