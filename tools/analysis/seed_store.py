"""Look into a store of seeds, check it, and change to and from dictionaries.

python tools/analysis/seed_store.py info STORE
python tools/analysis/seed_store.py verify STORE
python tools/analysis/seed_store.py export STORE FOLDER
python tools/analysis/seed_store.py import FOLDER STORE --images DIR
Dictionaries are <id>.npy of {class: map}, float32, of the image's size, classes counted
from 0 without the background. With --images maps may be smaller than their image, which
they cover, and DIR has the images.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from glob import escape
from pathlib import Path

from PIL import Image

from mmwsss.apis.launch import run_tool
from mmwsss.apis.seed_exchange import export_seeds, import_seeds, info_of
from mmwsss.structures.seed_record import SeedCodec, SeedRecord
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.errors import DataError
from mmwsss.utils.progress import track


def image_size(folder: Path, name: str) -> tuple[int, int]:
    """Return (height, width) of an image as one sees it, by its id.

    Raises:
        DataError: if there is none or more than one, or it cannot be read.
    """
    found = [path for path in folder.glob(f'{escape(name)}.*') if path.is_file()]
    if len(found) != 1:
        raise DataError(f'{folder} has {len(found)} images {name}.*, expected one')
    try:
        with Image.open(found[0]) as image:
            turned = image.getexif().get(0x0112, 1) > 4
            size = (
                (image.width, image.height) if turned else (image.height, image.width)
            )
    except OSError as error:
        raise DataError(f'image cannot be read: {found[0]} ({error})') from error
    return size


def open_store(path: Path) -> ArtefactStore[SeedRecord]:
    """Open a store of seeds."""
    return ArtefactStore.open(path, SeedCodec())


def verify(path: Path) -> str:
    """Check all records of a store; return what to say.

    Raises:
        ArtefactError: if one is missing, damaged, changed or of another origin.
    """
    store = open_store(path)
    keys = store.keys()
    for name in track(keys, 'Records'):
        store.read(name)
    if not store.is_finished():
        return f'{path}: {len(keys)} records are sound, the store is not finished'
    store.verify()
    return f'{path}: {len(keys)} records are sound, digest {store.digest()}'


def run(args: argparse.Namespace) -> str:
    """Do what the arguments ask for; return what to say."""
    if args.action == 'info':
        return json.dumps(info_of(open_store(args.store)), indent=1)
    if args.action == 'verify':
        return verify(args.store)
    if args.action == 'export':
        count = export_seeds(open_store(args.store), args.folder)
        return f'{args.folder}: {count} dictionaries'
    if args.images and not args.images.is_dir():
        raise DataError(f'{args.images} does not exist; set --images')
    size_of = (lambda name: image_size(args.images, name)) if args.images else None
    store = import_seeds(args.folder, args.store, size_of=size_of)
    return f'{args.store}: {len(store.keys())} records'


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest='action', required=True)
    for name, places in {
        'info': ('store',),
        'verify': ('store',),
        'export': ('store', 'folder'),
        'import': ('folder', 'store'),
    }.items():
        action = actions.add_parser(name)
        for place in places:
            action.add_argument(place, type=Path)
        if name == 'import':
            action.add_argument('--images', type=Path, help='folder of the images')
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool."""
    print(run(parse_arguments(arguments)))


if __name__ == '__main__':
    run_tool(main)
