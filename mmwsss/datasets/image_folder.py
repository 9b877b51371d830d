"""Images of a folder and its sub-folders, by their ids."""

from __future__ import annotations

import hashlib
import os.path as osp
import re

from mmengine import fileio

from mmwsss.datasets.tag_table import plain_path
from mmwsss.utils.errors import DataError

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.gif')
HIDDEN = re.compile(r'(^|/)\.')


def list_images(folder: str, backend_args: dict | None = None) -> dict[str, str]:
    """Return the images of a folder and its sub-folders: id to path, sorted by id.

    An image's id is its path in the folder without the suffix.

    Raises:
        DataError: if two images differ in nothing but their suffix.
    """
    images: dict[str, str] = {}
    for path in sorted(files_of(folder, IMAGE_SUFFIXES, backend_args)):
        image_id = osp.splitext(path)[0]
        if image_id in images:
            raise DataError(
                f'{folder}: {images[image_id]} and {path} have one id ({image_id}); '
                'rename one of them'
            )
        images[image_id] = path
    return dict(sorted(images.items()))


def files_of(
    folder: str, suffixes: str | tuple[str, ...], backend_args: dict | None = None
) -> list[str]:
    """Return the relative paths of files below a folder that end so, in any case.

    What starts with a dot, as backups and previews do, is left out.
    """
    if not fileio.isdir(folder, backend_args=backend_args):
        return []
    found = fileio.list_dir_or_file(
        folder, list_dir=False, recursive=True, backend_args=backend_args
    )
    paths = (path.replace('\\', '/') for path in found)
    return [
        path
        for path in paths
        if path.lower().endswith(suffixes) and not HIDDEN.search(path)
    ]


def folders_of(folder: str, backend_args: dict | None = None) -> list[str]:
    """Return the names of the folders in a folder, hidden ones left out."""
    found = fileio.list_dir_or_file(
        folder, list_file=False, recursive=False, backend_args=backend_args
    )
    return sorted(name for name in found if not HIDDEN.search(name))


def in_share(image_id: str, share: float) -> bool:
    """Tell whether an image falls to a share in (0, 1) of all, by its id alone."""
    digest = hashlib.sha256(plain_path(image_id).encode()).digest()
    return int.from_bytes(digest[:8], 'big') < share * 2**64
