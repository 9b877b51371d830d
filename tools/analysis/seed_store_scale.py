"""Measure a store of many synthetic records: opening, a full pass, random access.

python tools/analysis/seed_store_scale.py --records 100000
Each step runs in a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from mmwsss.apis.launch import run_tool
from mmwsss.structures.seed_record import SeedCodec, SeedRecord
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.progress import track

GRID = 24
DRAWN = 64
SPREAD = 2.0
PARTS = 10
MEGABYTE = 2**20


def key_of(index: int) -> str:
    """Return the key of a record, a name like COCO's."""
    return f'COCO_train2014_{index:012}'


def draw_records(seed: int = 0) -> list[SeedRecord]:
    """Draw smooth maps of one to four classes; the store repeats them."""
    random = np.random.default_rng(seed)
    axis = np.arange(GRID)
    records = []
    for number in range(DRAWN):
        classes = tuple(range(1 + number % 4))
        centres = random.uniform(0, GRID, (len(classes), 2, 1))
        rows, columns = np.exp(-(((axis - centres) / SPREAD / 2) ** 2)).swapaxes(0, 1)
        maps = rows[:, :, None] * columns[:, None]
        size = (384, 384)
        records.append(SeedRecord(maps, classes, size, size, (480, 640), True))
    return records


def memory() -> int:
    """Return the bytes that this process occupies."""
    pages = Path('/proc/self/statm').read_text().split()[1]
    return int(pages) * os.sysconf('SC_PAGE_SIZE')


def write(folder: Path, count: int) -> dict[str, float]:
    """Write and finish a store."""
    records = draw_records()
    store = ArtefactStore.create(folder, SeedCodec(), dict(config='synthetic'))
    start = time.perf_counter()
    for index in range(count):
        store.write(key_of(index), records[index % DRAWN])
    written = time.perf_counter()
    store.finish([key_of(index) for index in range(count)])
    finished = time.perf_counter()
    return dict(write_s=written - start, finish_s=finished - written)


def open_index(folder: Path, count: int) -> dict[str, float]:
    """Open a store and read one record."""
    start = time.perf_counter()
    ArtefactStore.open(folder, SeedCodec()).read(key_of(count // 2))
    return dict(open_s=time.perf_counter() - start)


def read_in(folder: Path, order: Iterator[int], count: int) -> dict[str, Any]:
    """Read records and note the memory after each tenth."""
    before = memory()
    store = ArtefactStore.open(folder, SeedCodec())
    store.read(key_of(0))
    opened, memories = memory(), []
    start = time.perf_counter()
    for number, index in enumerate(order, start=1):
        store.read(key_of(index)).tensor()
        if number % max(1, count // PARTS) == 0:
            memories.append(memory())
    return dict(
        read_s=time.perf_counter() - start,
        index_megabytes=(opened - before) / MEGABYTE,
        # the first tenth fills allocators and libraries
        growth_megabytes=(memories[-1] - memories[0]) / MEGABYTE,
    )


def full_pass(folder: Path, count: int) -> dict[str, Any]:
    """Read all records in order."""
    return read_in(folder, iter(range(count)), count)


def random_access(folder: Path, count: int) -> dict[str, Any]:
    """Read as many records anywhere."""
    drawn = np.random.default_rng(1).integers(count, size=count)
    return read_in(folder, iter(drawn.tolist()), count)


def apart(action: Callable[[Path, int], dict[str, Any]], *args: Any) -> dict[str, Any]:
    """Run in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as pool:
        return pool.submit(action, *args).result()


def measure(folder: Path, count: int) -> dict[str, Any]:
    """Return all figures of a store of ``count`` records."""
    report: dict[str, Any] = dict(records=count, load=os.getloadavg()[0])
    for action in track((write, open_index, full_pass, random_access), 'Measuring'):
        report[action.__name__] = apart(action, folder, count)
    files = [path for path in folder.rglob('*') if path.is_file()]
    report['files'] = len(files)
    report['megabytes'] = sum(path.stat().st_size for path in files) / MEGABYTE
    return report


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--records', type=int, default=100_000)
    parser.add_argument('--folder', help='where to write; temporary if none')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        print(json.dumps(measure(Path(folder) / 'store', args.records), indent=1))


if __name__ == '__main__':
    run_tool(main)
