"""PAMR against neighbours gathered dilation by dilation; images a second of refiners.

python tools/benchmarks/refinement.py --json refinement.json
The first part compares one image of 375x500 pixels, four planes, six dilations, ten
iterations, on the threads of --threads. The second makes labels of generated images of
that size as generate_pseudo_labels.py does: in one process of one thread, and by
--jobs 2, whose start counts. PAMR refines four planes, the CRF the background and three
classes; without its package it is left out.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from measuring import (
    Times,
    goal,
    in_turns,
    parser_of,
    prepare,
    relative_difference,
    report,
)
from numpy.typing import NDArray
from reference.pamr import refine
from torch import Tensor
from torch.utils.data import Dataset

from mmwsss.apis.launch import run_tool
from mmwsss.apis.pseudo_labels import label_images
from mmwsss.datasets.synthetic.scenes import draw_scene
from mmwsss.functional.refinement.pamr import DILATIONS, pamr
from mmwsss.refiners import Refiner, build_refiner
from mmwsss.utils.errors import DependencyError

ITERATIONS = 10
SIZE, SMALL = (375, 500), (60, 50)
GRID, SCENES = (24, 32), 4
COUNTS = dict(pamr=40, densecrf=8)
"""Images of a timed run: some seconds in one process."""
PROCESSES = dict(one_process=1, two_processes=2)
RATES = (
    'images_per_second_one_process',
    'images_per_second_two_processes',
    'two_processes_over_one',
)
PAMR_RATE, CRF_GAIN = 5.0, 1.6


class Labelling(Dataset):
    """Labels of generated images by their position.

    Args:
        refiner: From maps to labels.
        classes: Maps an image, smooth ones.
        count: Labels, of images that repeat.
        size: Their height and width.
    """

    def __init__(
        self, refiner: Refiner, *, classes: int, count: int, size: tuple[int, int]
    ) -> None:
        height, width = size
        self.refiner, self.tags, self.count = refiner, range(classes), count
        self.images = [
            draw_scene(0, 'train', index, max(size)).image[:height, :width]
            for index in range(SCENES)
        ]
        grids = torch.rand(SCENES, classes, *GRID)
        self.maps = F.interpolate(grids, size, mode='bilinear')

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        scene = index % SCENES
        return self.refiner(self.maps[scene], self.images[scene], self.tags)


def rates(name: str, labelling: Labelling, args: Namespace) -> dict[str, Any]:
    """Return images a second in one process and in two, and the gain."""

    def run_of(jobs: int) -> Callable[[], list[NDArray[np.uint8]]]:
        return lambda: list(label_images(labelling, jobs))

    sides = {side: run_of(jobs) for side, jobs in PROCESSES.items()}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times = in_turns(sides, repeats=args.repeats, device=torch.device('cpu'))
    torch.set_num_threads(threads)
    found: dict[str, Any] = dict(refiner=name, images=len(labelling))
    found |= {side: Times.summary(spent) for side, spent in times.items()}
    for side, spent in times.items():
        found[f'images_per_second_{side}'] = len(labelling) / spent.median
    one, two = (times[side].median for side in PROCESSES)
    return found | dict(two_processes_over_one=one / two)


def all_rates(args: Namespace, size: tuple[int, int]) -> list[dict[str, Any]]:
    """Return the rates of PAMR and, with its package, of the CRF."""
    cases = []
    for name, classes in (('pamr', args.labels), ('densecrf', args.labels - 1)):
        try:
            refiner = build_refiner(name)
        except DependencyError as error:
            print(f'{name} is left out: {error}')
            continue
        count = 2 if args.small else COUNTS[name]
        labelling = Labelling(refiner, classes=classes, count=count, size=size)
        cases.append(rates(name, labelling, args))
    return cases


def against_plain(
    args: Namespace, size: tuple[int, int], device: torch.device
) -> dict[str, Any]:
    """Compare one image's maps and times with those of the plain reading."""
    image = torch.rand(3, *size, device=device)
    maps = torch.rand(args.labels, *size, device=device)
    sides: dict[str, Callable[[], Tensor]] = dict(
        product=lambda: pamr(maps, image, iterations=ITERATIONS),
        plain=lambda: refine(maps, image, DILATIONS, iterations=ITERATIONS),
    )
    deviation = relative_difference(sides['product'](), sides['plain']())
    times = in_turns(sides, repeats=args.repeats, device=device)
    return dict(
        labels=args.labels,
        height=size[0],
        width=size[1],
        **{name: Times.summary(found) for name, found in times.items()},
        ratio=times['plain'].median / times['product'].median,
        images_per_second=1 / times['product'].median,
        max_relative_difference=deviation,
    )


def main() -> None:
    """Measure and report."""
    parser = parser_of(__doc__, repeats=3)
    parser.add_argument('--labels', type=int, default=4)
    args = parser.parse_args()
    device = prepare(args)
    size = SMALL if args.small else SIZE
    case = against_plain(args, size, device)
    names = ('ratio', 'images_per_second', 'max_relative_difference')
    figures = {name: case[name] for name in names}
    cases = all_rates(args, size) if args.device == 'cpu' else []
    for found in cases:
        figures |= {f'{found["refiner"]}_{name}': found[name] for name in RATES}
    goals = []
    if cases:
        rate = figures['pamr_images_per_second_two_processes']
        goals.append(goal('PAMR: images/s by --jobs 2', rate, at_least=PAMR_RATE))
    if 'densecrf_two_processes_over_one' in figures:
        gain = figures['densecrf_two_processes_over_one']
        goals.append(goal('DenseCRF: --jobs 2 over one', gain, at_least=CRF_GAIN))
    report(args, cases=[case, *cases], goals=goals, **figures)


if __name__ == '__main__':
    run_tool(main)
