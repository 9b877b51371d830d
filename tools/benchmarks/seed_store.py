"""Seeds on disk: the product's records against float32 arrays.

python tools/benchmarks/seed_store.py --json seed_store.json
Maps of one to three classes on the grid of 24x24 patches. Records are half precision,
deflated, sealed by a checksum and written by renaming; arrays are ``np.save``'s, once
of the same grid and once of the image's 366x500 pixels, as releases of the field write
them. Times are for all images; reading includes what brings maps into memory.
"""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from measuring import Times, in_turns, parser_of, prepare, report

from mmwsss.apis.launch import run_tool
from mmwsss.structures.seed_record import SeedCodec, SeedRecord
from mmwsss.utils.artefact_store import ArtefactStore

GRID, SIZE, INPUT = 24, (366, 500), (384, 384)


def draw_records(count: int) -> list[SeedRecord]:
    """Draw smooth maps in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    records = []
    for index in range(count):
        present = 1 + index % 3
        coarse = torch.rand(1, present, 6, 6, generator=generator)
        maps = F.interpolate(coarse, (GRID, GRID), mode='bicubic').clamp(0, 1)[0]
        records.append(
            SeedRecord(
                maps=maps.numpy(),
                classes=tuple(range(present)),
                input_shape=INPUT,
                img_shape=INPUT,
                ori_shape=SIZE,
                align_corners=True,
            )
        )
    return records


def write_records(folder: Path, records: list[SeedRecord]) -> None:
    """Write the product's records."""
    store = ArtefactStore.create(folder, SeedCodec(), dict(config='benchmark'))
    for index, record in enumerate(records):
        store.write(f'{index:06}', record)


def read_records(folder: Path, count: int) -> float:
    """Read the product's records."""
    store = ArtefactStore.open(folder, SeedCodec())
    return sum(
        store.read(f'{index:06}').tensor().sum().item() for index in range(count)
    )


def arrays_of(records: list[SeedRecord], *, pixels: bool) -> list[np.ndarray]:
    """Return the maps as float32, on their grid or up-sampled to the pixels."""
    arrays = []
    for record in records:
        maps = record.tensor()[None]
        if pixels:
            maps = F.interpolate(maps, SIZE, mode='bilinear', align_corners=True)
        arrays.append(maps[0].numpy())
    return arrays


def write_arrays(folder: Path, arrays: list[np.ndarray]) -> None:
    """Write arrays with numpy."""
    folder.mkdir(exist_ok=True)
    for index, array in enumerate(arrays):
        np.save(folder / f'{index:06}.npy', array)


def read_arrays(folder: Path, count: int) -> float:
    """Read arrays with numpy."""
    return sum(float(np.load(folder / f'{i:06}.npy').sum()) for i in range(count))


def measure(args: Namespace, root: Path) -> list[dict]:
    """Measure writing and reading of each way."""
    records = draw_records(args.images)
    count = len(records)
    ways: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        'records': (
            lambda: write_records(root / 'records', records),
            lambda: read_records(root / 'records', count),
        )
    }
    for name, pixels in (('grid_npy', False), ('pixel_npy', True)):
        folder, arrays = root / name, arrays_of(records, pixels=pixels)
        ways[name] = (
            lambda folder=folder, arrays=arrays: write_arrays(folder, arrays),
            lambda folder=folder: read_arrays(folder, count),
        )
    device, cases = torch.device('cpu'), []
    writing = {name: way[0] for name, way in ways.items()}
    reading = {name: way[1] for name, way in ways.items()}
    written = in_turns(writing, repeats=args.repeats, device=device)
    read = in_turns(reading, repeats=args.repeats, device=device)
    for name in ways:
        files = [f for f in (root / name).rglob('*') if f.suffix in ('.seed', '.npy')]
        size = sum(file.stat().st_size for file in files)
        cases.append(
            dict(
                way=name,
                images=count,
                bytes_an_image=size / count,
                write=Times.summary(written[name]),
                read=Times.summary(read[name]),
            )
        )
    return cases


def main() -> None:
    """Measure and report."""
    parser = parser_of(__doc__, repeats=5)
    parser.add_argument('--images', type=int, default=200)
    parser.add_argument('--folder', type=Path, help='where to write; temporary if none')
    args = parser.parse_args()
    prepare(args)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        cases = measure(args, Path(folder))
    args.folder = None
    own, grid, pixel = (case['bytes_an_image'] for case in cases)
    report(args, cases=cases, size_ratio=pixel / own, grid_size_ratio=grid / own)


if __name__ == '__main__':
    run_tool(main)
