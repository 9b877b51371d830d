"""The mIoU curve of seeds: one histogram against a pass for every threshold.

python tools/benchmarks/seed_curve.py --json seed_curve.json
Images of 366x500 pixels with one to three classes. ``ratio`` is the time of passes over
score arrays with a plane for each of the 21 classes, as the field's scripts read them;
``present_ratio`` that of passes over the planes of present classes alone.
"""

from __future__ import annotations

from argparse import Namespace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from measuring import Times, goal, in_turns, parser_of, prepare, report
from numpy.typing import NDArray
from reference.seeds import counts_at
from torch import Tensor

from mmwsss.apis.launch import run_tool
from mmwsss.functional.seeds import seed_histogram, threshold_curve

CLASSES, IGNORED, GRID = 21, 255, 24
GOAL = 100


class Image(NamedTuple):
    """Scores and labels of an image."""

    scores: Tensor
    classes: tuple[int, ...]
    gt: Tensor


def draw_images(count: int, size: tuple[int, int]) -> list[Image]:
    """Draw smooth scores with ties on the grid, and labels with ignored pixels."""
    generator = torch.Generator().manual_seed(0)
    images = []
    for index in range(count):
        present = 1 + index % 3
        small = torch.rand(1, present, GRID, GRID, generator=generator)
        scores = F.interpolate(small, size, mode='bilinear', align_corners=True)[0]
        order = torch.randperm(CLASSES - 1, generator=generator)[:present]
        classes = tuple(order.sort().values.tolist())
        gt = torch.randint(0, CLASSES + 1, size, generator=generator)
        gt[gt == CLASSES] = IGNORED
        images.append(Image((scores * 1000).round() / 1000, classes, gt))
    return images


def by_histogram(images: list[Image], thresholds: Tensor) -> NDArray[np.int64]:
    """Return the counts (3, T, C) of the product."""
    total = sum(
        seed_histogram(*image, thresholds, num_classes=CLASSES, ignore_index=IGNORED)
        for image in images
    )
    return torch.stack(threshold_curve(total)).numpy()


def by_passes(
    images: list[Image], thresholds: Tensor, *, every_plane: bool
) -> NDArray[np.int64]:
    """Return the counts (3, T, C) of one pass a threshold."""
    arrays = [(i.scores.numpy(), i.classes, i.gt.numpy()) for i in images]
    settings = dict(num_classes=CLASSES, ignore_index=IGNORED, every_plane=every_plane)
    curve = [
        sum(counts_at(*array, threshold, **settings) for array in arrays)
        for threshold in thresholds.numpy()
    ]
    return np.stack(curve, 1)


def measure(args: Namespace) -> dict:
    """Measure all three ways and compare their integers."""
    size = (40, 50) if args.small else (366, 500)
    images = draw_images(args.images, size)
    thresholds = torch.arange(args.thresholds, dtype=torch.float32) / args.thresholds
    sides = dict(
        product=lambda: by_histogram(images, thresholds),
        plain=lambda: by_passes(images, thresholds, every_plane=True),
        present=lambda: by_passes(images, thresholds, every_plane=False),
    )
    results = [run() for run in sides.values()]
    times = in_turns(sides, repeats=args.repeats, device=torch.device('cpu'))
    return dict(
        images=args.images,
        thresholds=args.thresholds,
        **{name: Times.summary(found) for name, found in times.items()},
        ratio=times['plain'].median / times['product'].median,
        present_ratio=times['present'].median / times['product'].median,
        differing_integers=sum(int((r != results[0]).sum()) for r in results[1:]),
    )


def main() -> None:
    """Measure and report."""
    parser = parser_of(__doc__, repeats=5)
    parser.add_argument('--images', type=int, default=6)
    parser.add_argument('--thresholds', type=int, default=100)
    args = parser.parse_args()
    prepare(args)
    case = measure(args)
    keys = ('ratio', 'present_ratio', 'differing_integers')
    goals = [
        goal('a pass a threshold over histogram', case['ratio'], at_least=GOAL),
        goal('integers that differ', case['differing_integers'], at_most=0.0),
    ]
    report(args, cases=[case], goals=goals, **{key: case[key] for key in keys})


if __name__ == '__main__':
    run_tool(main)
