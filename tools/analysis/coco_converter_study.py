"""Measure memory and time of COCO's converter over the number of images.

python tools/analysis/coco_converter_study.py --images 2000 4000 8000 --workers 2
Instance files like the official one (7.3 objects and 5.4 kB an image, 640x480, one
object in 80 a crowd) are generated and converted; straight lines through the figures
are extended to the official train2014. Memory is what all processes together occupy,
shared pages once (PSS); processor seconds tell the cost on a busy machine, too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from mmwsss.apis.launch import run_tool
from mmwsss.datasets.coco import COCOTagDataset
from mmwsss.utils.progress import track

TOOL = Path(__file__).parents[1] / 'dataset_converters/coco2014.py'
OFFICIAL_IMAGES = 82_783
OBJECTS_AN_IMAGE = 7.3
CROWDS = 1 / 80
POINTS = 39
SIZE = (480, 640)
EVERY = 0.1
MEGABYTE = 2**20


def categories() -> list[dict[str, Any]]:
    """Return COCO's categories, with gaps in their ids as COCO has."""
    names = COCOTagDataset.METAINFO['classes'][1:]
    return [
        dict(id=number + number // 9, name=name.replace('_', ' '))
        for number, name in enumerate(names, start=1)
    ]


def image_entry(index: int, size: tuple[int, int]) -> dict[str, Any]:
    """Return an image; ids do not ascend with names."""
    number = index * 7 + 9
    name = f'COCO_train2014_{number:012}.jpg'
    return dict(id=10**9 - number, file_name=name, height=size[0], width=size[1])


def runs_of(random: np.random.Generator, pixels: int) -> list[int]:
    """Return an uncompressed run-length code of about 20 stripes."""
    ends = np.sort(random.choice(pixels - 1, 39, replace=False)) + 1
    return np.diff([0, *ends, pixels]).tolist()


def annotation(
    random: np.random.Generator, number: int, image: dict[str, Any], kinds: list[int]
) -> dict[str, Any]:
    """Return a random star-shaped object, or a crowd, of one of the categories."""
    size = np.array([image['width'], image['height']])
    crowd = random.random() < CROWDS
    points = max(3, int(random.poisson(POINTS)))
    radius = size.min() * random.uniform(0.03, 0.35)
    angles = np.sort(random.uniform(0, 2 * np.pi, points))
    spokes = radius * random.uniform(0.6, 1.0, points)
    corners = random.uniform(0, size) + spokes[:, None] * np.stack(
        [np.cos(angles), np.sin(angles)], 1
    )
    corners = corners.clip(0, size).round(2)
    code = dict(counts=runs_of(random, int(size.prod())), size=size[::-1].tolist())
    return dict(
        id=number,
        image_id=image['id'],
        category_id=kinds[int(random.integers(len(kinds)))],
        iscrowd=int(crowd),
        area=round(float(np.pi * radius**2), 4),
        bbox=[*corners.min(0).tolist(), *np.ptp(corners, 0).tolist()],
        segmentation=code if crowd else [corners.ravel().tolist()],
    )


def write_instances(
    path: Path, count: int, *, seed: int = 0, size: tuple[int, int] = SIZE
) -> None:
    """Write generated annotations of ``count`` images, in no order of the images."""
    random = np.random.default_rng(seed)
    images = [image_entry(index, size) for index in range(count)]
    kinds = [entry['id'] for entry in categories()]
    owners = random.integers(count, size=round(count * OBJECTS_AN_IMAGE))
    with open(path, 'w') as file:
        head = dict(info=dict(description='generated'), images=images)
        file.write(json.dumps(head)[:-1] + ', "annotations": [')
        for number, owner in enumerate(owners.tolist()):
            text = json.dumps(annotation(random, number, images[owner], kinds))
            file.write((', ' if number else '') + text)
        file.write(f'], "categories": {json.dumps(categories())}}}')


def processes_below(root: int) -> Iterator[int]:
    """Yield a process and its descendants."""
    yield root
    for task in Path(f'/proc/{root}/task').glob('*/children'):
        for child in task.read_text().split():
            yield from processes_below(int(child))


def occupied(root: int) -> int:
    """Return the bytes that a process and its descendants occupy together."""
    total = 0
    for process in processes_below(root):
        lines = Path(f'/proc/{process}/smaps_rollup').read_text().splitlines()
        total += sum(int(li.split()[1]) for li in lines if li.startswith('Pss:'))
    return total * 1024


def processor_seconds() -> float:
    """Return the processor time of all ended children and theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(command: list[str]) -> tuple[float, float, int]:
    """Run a command; return its seconds, processor seconds and most bytes occupied.

    Raises:
        SystemExit: if it fails.
    """
    start, used, most = time.perf_counter(), processor_seconds(), 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        # one of them may just have ended
        with suppress(OSError, ValueError):
            most = max(most, occupied(process.pid))
        time.sleep(EVERY)
    if process.returncode:
        sys.exit(f'error: {" ".join(command)} failed')
    return time.perf_counter() - start, processor_seconds() - used, most


def measure(count: int, workers: int) -> dict[str, float]:
    """Convert ``count`` generated images and return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'instances.json'
        write_instances(path, count)
        arguments = [folder, '--annotations', str(path), '--workers', str(workers)]
        command = [sys.executable, str(TOOL), *arguments]
        seconds, processor, memory = run(command)
        again, _, _ = run(command)
        size = path.stat().st_size
    return dict(
        images=count,
        megabytes_of_json=round(size / MEGABYTE, 1),
        seconds=round(seconds, 1),
        processor_seconds=round(processor, 1),
        seconds_again=round(again, 1),
        megabytes=round(memory / MEGABYTE, 1),
    )


def extend(figures: list[dict[str, float]], name: str) -> dict[str, float]:
    """Fit a line to a figure and extend it to the official number of images."""
    counts = np.array([row['images'] for row in figures], float)
    values = np.array([row[name] for row in figures], float)
    slope, start = np.polyfit(counts, values, 1)
    off = values - (start + slope * counts)
    return dict(
        at_official=round(float(start + slope * OFFICIAL_IMAGES), 1),
        an_image=round(float(slope), 6),
        at_none=round(float(start), 1),
        largest_deviation=round(float(abs(off / values).max()), 4),
    )


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--images', type=int, nargs='+', default=[2000, 4000, 8000])
    parser.add_argument('--workers', type=int, default=os.cpu_count())
    args = parser.parse_args()
    figures = [measure(n, args.workers) for n in track(args.images, 'Conversions')]
    names = ('seconds', 'processor_seconds', 'seconds_again', 'megabytes')
    lines = {name: extend(figures, name) for name in names}
    load = os.getloadavg()[0]
    report = dict(workers=args.workers, load=load, measured=figures, lines=lines)
    print(json.dumps(report, indent=1))


if __name__ == '__main__':
    run_tool(main)
